"""A relaxation that chooses one candidate serves choices of several inputs, too."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.mutators import (
    DifferentiableMutator,
    gumbel_noise,
    straight_through,
)

LOGITS = [1.0, 0.0, -1.0, 0.5]


class OneOfEach(DifferentiableMutator):
    sparse = True

    def relax(self, logits: Tensor) -> Tensor:
        return straight_through(self.masked_softmax(logits + gumbel_noise(logits, self.generator)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerChoice([nn.Identity(), nn.Tanh()], key="layer")
        self.two = InputChoice(n_candidates=4, n_chosen=2, key="two")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two([self.layer(x), x, x, x])
        return out


def make() -> OneOfEach:
    mutator = OneOfEach(Net(), seed=1)
    with torch.no_grad():
        mutator.alphas[mutator.rows.index("two")] = torch.tensor(LOGITS)
    return mutator


def test_pairs_are_drawn_one_after_the_other_without_replacement() -> None:
    weight = torch.tensor(LOGITS).exp().tolist()
    total = sum(weight)
    expected = {
        (i, j): weight[i] / total * weight[j] / (total - weight[i])
        + weight[j] / total * weight[i] / (total - weight[j])
        for i, j in combinations(range(4), 2)
    }
    mutator, drawn = make(), Counter()
    for _ in range(2000):
        decision = mutator.sample_search()["two"]
        assert decision.mix is not None
        assert decision.mix.tolist() == [float(i in decision.active) for i in range(4)]
        drawn[decision.active] += 1

    assert {pair: n / 2000 for pair, n in drawn.items()} == pytest.approx(expected, abs=0.04)


def test_all_logits_of_the_choice_get_a_gradient() -> None:
    mutator = make()
    mix = mutator.sample_search()["two"].mix
    assert mix is not None
    (gradient,) = torch.autograd.grad(
        (mix * torch.tensor([1.0, 2.0, 4.0, 8.0])).sum(), mutator.alphas
    )

    assert gradient.isfinite().all()
    assert (gradient[mutator.rows.index("two")] != 0).all()
