"""DATA: what any of M draws chose runs, and its gradient is that of the draws that chose it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nas_plugin.errors import OptionError
from nas_plugin.mutators import DataMutator
from tests.mutators.small_net import SmallNet, compared, gumbel, prepared, softmax


def union(logits: Tensor, generator: torch.Generator, draws: int, tau: float) -> Tensor:
    """The code written out: hot where any draw is; its gradient the mean of those that agree."""
    soft = [softmax((logits + gumbel(generator, 3, 3)) / tau) for _ in range(draws)]
    rows = []
    for row in range(3):
        entries = []
        for k in range(3):
            by = [p[row, k] for p in soft if int(p[row].argmax()) == k]
            agree = by or [p[row, k] for p in soft]
            entries.append(float(bool(by)) + torch.stack([p - p.detach() for p in agree]).mean())
        rows.append(torch.stack(entries))
    return torch.stack(rows)


@pytest.mark.parametrize("draws", [1, 4, 7])
@pytest.mark.parametrize("normalise", [False, True])
def test_coefficients_and_gradient_are_those_of_the_formula(draws: int, normalise: bool) -> None:
    net = SmallNet()
    mutator = DataMutator(net, scale=1.0, draws=draws, normalise=normalise)
    logits, generator = prepared(mutator)
    mutator.start_epoch(0.5)
    mutator.reset()
    mixes = union(logits, generator, draws, 3.0)
    active = [[k for k in range(3) if row[k] != 0] for row in mixes.detach()]
    if normalise:
        mixes = mixes / mixes.sum(dim=1, keepdim=True)

    compared(net, mutator, net.written_out(tuple(mixes), active), logits)


def test_only_what_was_drawn_runs() -> None:
    net = SmallNet()
    mutator = DataMutator(net, scale=1.0, draws=2)
    mutator.double().reset()
    net.loss()
    on = mutator.binding.decisions["a"].active

    assert [i for i, ran in enumerate(net.ran[:3]) if ran] == list(on)
    assert len(on) < 3


def test_no_draw_is_refused() -> None:
    with pytest.raises(OptionError, match="draws must be at least 1, got 0"):
        DataMutator(SmallNet(), draws=0)
