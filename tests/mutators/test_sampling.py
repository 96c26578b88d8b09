"""SPOS and FairNAS: how paths are drawn."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.mutators import FairNasMutator, SposMutator
from nas_plugin.profiling import CostTable


class Counted(nn.Module):
    """Counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return x


def net(widths: tuple[int, ...] = (4, 4, 4)) -> nn.Sequential:
    return nn.Sequential(*(LayerChoice([Counted() for _ in range(n)]) for n in widths))


def test_uniform_paths_draw_every_candidate_equally_often() -> None:
    model = net()
    mutator = SposMutator(model, seed=3)
    n = 2000
    for _ in range(n):
        mutator.reset()
        model(torch.ones(1))

    for block in model:
        runs = [candidate.runs for candidate in block]
        assert sum(runs) == n  # one candidate a path: what is not drawn is not computed
        assert all(abs(r - n / 4) < 5 * math.sqrt(n * 0.25 * 0.75) for r in runs)


def test_paths_stay_in_the_window() -> None:
    model = net()
    costs = {str(i): {str(k): float(k) for k in range(4)} for i in range(3)}
    table = CostTable("FLOPs", costs, fixed=10)
    mutator = SposMutator(model, cost=table, window=(13, 14))
    drawn = Counter()
    for _ in range(300):
        mutator.reset()
        drawn[tuple(d.active[0] for d in mutator.binding.decisions.values())] += 1

    assert all(3 <= sum(path) <= 4 for path in drawn)
    # Uniform on the window: 10 paths of sum 3 and 12 of sum 4, all are met.
    assert len(drawn) == 22


def test_an_empty_window_is_an_error_that_names_the_costs() -> None:
    table = CostTable("FLOPs", {"0": {str(k): 1.0 for k in range(4)}})
    with pytest.raises(SpaceError, match="they cost 1 to 1"):
        SposMutator(net(), cost=table, window=(2, 3)).reset()
    with pytest.raises(OptionError, match="belong together"):
        SposMutator(net(), cost=table)


def test_fair_paths_hold_every_candidate_once_a_step() -> None:
    model = net()
    mutator = FairNasMutator(model)
    assert mutator.paths_per_step == 4
    orders = set()
    for step in range(1, 6):
        order = []
        for _ in range(4):
            mutator.reset()
            model(torch.ones(1))
            order.append(mutator.binding.decisions["1"].active[0])
        orders.add(tuple(order))
        assert all(candidate.runs == step for block in model for candidate in block)
    assert len(orders) > 1


def test_candidates_meet_anew_in_every_step() -> None:
    mutator = FairNasMutator(net((3, 3)))
    pairs = Counter()
    for _ in range(3 * 120):
        decisions = mutator.sample_search()
        pairs[decisions["0"].active[0], decisions["1"].active[0]] += 1

    # Nine pairs, each in a third of 120 steps.
    assert len(pairs) == 9 and all(abs(n - 40) < 25 for n in pairs.values())


def test_a_narrow_choice_is_balanced_within_a_step() -> None:
    model = net((5, 2))
    mutator = FairNasMutator(model)
    for _ in range(5):
        mutator.reset()
        model(torch.ones(1))

    assert [c.runs for c in model[0]] == [1] * 5
    assert sorted(c.runs for c in model[1]) == [2, 3]


def test_fair_paths_go_on_from_a_state_inside_a_step() -> None:
    first, second = FairNasMutator(net(), seed=1), FairNasMutator(net(), seed=2)
    first.reset()
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        first.reset()
        second.reset()
        assert [d.active for d in first.binding.decisions.values()] == [
            d.active for d in second.binding.decisions.values()
        ]
