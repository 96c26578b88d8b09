"""What every mutator inherits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.mutators import DartsMutator


class Plus(nn.Module):
    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount


def make() -> nn.Sequential:
    return nn.Sequential(LayerChoice([Plus(1.0), Plus(3.0)], key="plus"))


def test_a_final_model_runs_what_is_exported() -> None:
    searched, final = make(), make()
    mutator = DartsMutator(searched)
    with torch.no_grad():
        mutator.alphas.copy_(torch.tensor([[0.0, 0.1]]))
    mutator.bind(final, final=True)
    mutator.reset()

    assert final(torch.zeros(1)).item() == 3.0
    assert 1.9 < searched(torch.zeros(1)).detach().item() < 2.2


def test_a_second_model_runs_the_same_decisions() -> None:
    first, second = make(), make()
    mutator = DartsMutator(first, scale=1.0)
    mutator.bind(second)
    mutator.reset()

    assert torch.equal(first(torch.zeros(1)), second(torch.zeros(1)))
