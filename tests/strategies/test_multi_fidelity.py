from __future__ import annotations

from collections import Counter

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import (
    Bohb,
    Exhausted,
    Hyperband,
    Outcome,
    SuccessiveHalving,
    Waiting,
)


@pytest.fixture
def space():
    return SearchSpace(Choice(f"c{i}", "value", tuple(range(5))) for i in range(5))


def total(proposal):
    return Outcome({"default": float(sum(proposal.architecture.values()))})


def test_the_brackets_of_hyperband_are_those_of_the_paper(space):
    # Li et al. 2018, table 1 (R = 81, eta = 3), with n from the formula of algorithm 1.
    strategy = Hyperband(space, fidelities=(1, 3, 9, 27, 81))
    sizes = [[size for _, size in strategy.shape(number)] for number in range(5)]
    assert sizes == [[81, 27, 9, 3, 1], [34, 11, 3, 1], [15, 5, 1], [8, 2], [5]]
    assert [strategy.shape(number)[0][0] for number in range(5)] == [1, 3, 9, 27, 81]
    assert strategy.shape(5) == strategy.shape(0)


def test_successive_halving_promotes_the_best_third(space):
    strategy = SuccessiveHalving(space)
    told = []
    for _ in range(13):
        proposal = strategy.ask()
        strategy.tell(proposal.id, total(proposal))
        told.append(proposal)
    assert Counter(p.fidelity for p in told) == {1: 9, 3: 3, 9: 1}
    ranked = sorted(told[:9], key=lambda p: -sum(p.architecture.values()))
    assert [p.architecture for p in told[9:12]] == [p.architecture for p in ranked[:3]]
    assert told[12].architecture == ranked[0].architecture
    assert strategy.best.proposal == told[12]
    assert strategy.ask().fidelity == 1  # the next bracket


def test_the_next_bracket_begins_while_a_rung_is_open(space):
    strategy = SuccessiveHalving(space, width=3, fidelities=(1, 3))
    opened = [strategy.ask() for _ in range(5)]
    assert {p.fidelity for p in opened} == {1}
    for proposal in opened[:3]:
        strategy.tell(proposal.id, total(proposal))
    assert strategy.ask().fidelity == 3


def test_nothing_is_promoted_from_a_rung_that_is_partly_told(space):
    strategy = SuccessiveHalving(space, width=3, fidelities=(1, 3))
    opened = [strategy.ask() for _ in range(3)]
    for proposal in opened[:2]:
        strategy.tell(proposal.id, total(proposal))
    assert strategy.ask().fidelity == 1
    strategy.tell(opened[2].id, Outcome({"default": 100.0}))
    promoted = strategy.ask()
    assert (promoted.architecture, promoted.fidelity) == (opened[2].architecture, 3)


def test_failures_are_not_promoted(space):
    strategy = SuccessiveHalving(space, width=3, fidelities=(1, 3))
    opened = [strategy.ask() for _ in range(3)]
    for proposal in opened[:2]:
        strategy.tell(proposal.id, Outcome(failure="broken"))
    strategy.tell(opened[2].id, total(opened[2]))
    promoted = strategy.ask()
    assert (promoted.architecture, promoted.fidelity) == (opened[2].architecture, 3)


def test_where_the_space_ends_the_last_rungs_are_finished():
    space = SearchSpace([Choice("a", "value", (1, 2, 3, 4))])
    strategy = SuccessiveHalving(space, fidelities=(1, 3, 9))
    opened = [strategy.ask() for _ in range(4)]
    with pytest.raises(Waiting, match=r"\[0, 1, 2, 3\]"):
        strategy.ask()
    for proposal in opened:
        strategy.tell(proposal.id, total(proposal))
    later = []
    with pytest.raises(Exhausted):
        while True:
            later.append(strategy.ask())
            strategy.tell(later[-1].id, total(later[-1]))
    assert [(p.architecture["a"], p.fidelity) for p in later] == [(4, 3), (3, 3), (2, 3), (4, 9)]


def test_bohb_draws_from_the_good_of_the_highest_fidelity(space):
    strategy = Bohb(space, random_share=0.0, seed=1)
    late = []
    for number in range(150):
        proposal = strategy.ask()
        strategy.tell(proposal.id, total(proposal))
        if number > 60 and proposal.fidelity == 1:
            late.append(sum(proposal.architecture.values()))
    assert sum(late) / len(late) > 13  # 10 is what chance gives


def test_wrong_fidelities_are_refused(space):
    for fidelities in ((), (3, 1), (0, 1)):
        with pytest.raises(OptionError, match="must be positive and rise"):
            Hyperband(space, fidelities=fidelities)
    with pytest.raises(OptionError, match="more than 1"):
        Hyperband(space, eta=1)


def test_failures_do_not_keep_the_others_from_the_highest_fidelity(space):
    strategy = SuccessiveHalving(space)
    told = []
    for number in range(13):
        proposal = strategy.ask()
        fails = number < 7  # two of the first nine are left for three places
        strategy.tell(proposal.id, Outcome(failure="no") if fails else total(proposal))
        told.append(proposal)
    assert [p.fidelity for p in told] == [1] * 9 + [3, 3, 9, 1]


@pytest.mark.parametrize("cls", [SuccessiveHalving, Hyperband, Bohb])
@pytest.mark.parametrize("size", [1, 2])
def test_the_best_of_a_tiny_space_reaches_the_highest_fidelity(cls, size):
    strategy = cls(SearchSpace([Choice("c", "value", tuple(range(size)))]))
    with pytest.raises(Exhausted):
        while True:
            proposal = strategy.ask()
            strategy.tell(proposal.id, total(proposal))
    assert strategy.best.proposal.fidelity == 9
    assert strategy.best.value == size - 1


def test_a_third_of_bohbs_new_architectures_are_random_whatever_it_knows(space):
    fidelities = (1, 2, 4, 8)
    strategy = Bohb(space, fidelities=fidelities, seed=3)
    while len([t for t in strategy.results if t.proposal.fidelity == 8]) < strategy.startup:
        proposal = strategy.ask()
        strategy.tell(proposal.id, total(proposal))
    drawn = []
    strategy._legal.sample = lambda rng: drawn.append(1) or space.sample(rng)
    for _ in range(900):
        strategy.suggest()

    # 300 are expected; four standard deviations are 57.
    assert 243 < len(drawn) < 357
