"""Local search by hand, in a space whose neighbours differ in one choice."""

from __future__ import annotations

from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import LocalSearch, Outcome, Proposal

SPACE = SearchSpace(Choice(f"c{i}", "value", tuple(range(5))) for i in range(4))


def distance(a: Proposal, b: Proposal) -> int:
    return sum(a.architecture[key] != b.architecture[key] for key in SPACE)


def tell(strategy: LocalSearch, value: float) -> Proposal:
    proposal = strategy.ask()
    strategy.tell(proposal.id, Outcome({"default": value}))
    return proposal


def test_a_walk_that_is_at_its_top_begins_anew_and_climbs_from_there() -> None:
    strategy = LocalSearch(SPACE, startup=1, seed=3)
    top = tell(strategy, 10.0)
    around = [tell(strategy, 0.0) for _ in range(16)]
    assert all(distance(p, top) == 1 for p in around)

    start = tell(strategy, -5.0)
    assert distance(start, top) > 1
    # It is worse than the first top, and still the centre of its own walk.
    better = tell(strategy, -4.0)
    assert distance(better, start) == 1
    assert all(distance(tell(strategy, -9.0), better) == 1 for _ in range(5))


def test_it_moves_at_the_first_better_neighbour() -> None:
    strategy = LocalSearch(SPACE, startup=1, seed=0)
    tell(strategy, 0.0)
    better = tell(strategy, 1.0)

    assert all(distance(tell(strategy, 0.5), better) == 1 for _ in range(8))


def test_it_moves_to_the_best_when_all_neighbours_are_told() -> None:
    strategy = LocalSearch(SPACE, startup=1, first_improvement=False, seed=0)
    first = tell(strategy, 0.0)
    around = [tell(strategy, value) for value in (1.0, 7.0, *[2.0] * 14)]
    assert all(distance(p, first) == 1 for p in around)

    later = [tell(strategy, 0.0) for _ in range(4)]
    assert all(distance(p, around[1]) == 1 for p in later)


def test_the_first_walk_begins_at_the_best_of_the_startup() -> None:
    strategy = LocalSearch(SPACE, startup=5, seed=1)
    started = [tell(strategy, value) for value in (1.0, 2.0, 9.0, 3.0, 4.0)]

    assert all(distance(tell(strategy, 0.0), started[2]) == 1 for _ in range(6))


def test_an_equal_neighbour_is_no_improvement() -> None:
    strategy = LocalSearch(SPACE, startup=1, seed=0, repeats=True)
    first = tell(strategy, 1.0)
    around = [tell(strategy, 1.0) for _ in range(16)]

    # The neighbourhood is gone through once; moving would begin it again.
    assert all(distance(near, first) == 1 for near in around)
    assert len({near.architecture for near in around}) == 16


def test_a_new_walk_waits_for_the_open_neighbours() -> None:
    strategy = LocalSearch(SPACE, startup=1, seed=0)
    first = tell(strategy, 1.0)
    around = [strategy.ask() for _ in range(16)]
    while_open = [strategy.ask() for _ in range(3)]  # random ones: nothing else is left to do
    for proposal in while_open:
        strategy.tell(proposal.id, Outcome({"default": 0.0}))
    last = around.pop()
    for proposal in around:
        strategy.tell(proposal.id, Outcome({"default": 0.0}))
    strategy.tell(last.id, Outcome({"default": 2.0}))

    assert distance(last, first) == 1
    assert all(distance(tell(strategy, 0.0), last) == 1 for _ in range(5))
