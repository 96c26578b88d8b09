from __future__ import annotations

import math
from random import Random

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Nsga2, Outcome, crowding, dominates, fronts
from tests.strategies.oracle_fronts import beats, unbeaten


def test_fronts_are_what_is_left_when_earlier_fronts_are_gone():
    rng = Random(0)
    points = [(rng.randrange(6), rng.randrange(6), rng.randrange(6)) for _ in range(60)]
    left = set(range(len(points)))
    for front in fronts(points):
        numbers = sorted(left)
        expected = {numbers[i] for i in unbeaten([points[j] for j in numbers])}
        assert set(front) == expected and len(front) == len(expected)
        left -= expected
    assert not left


def test_dominance_is_its_definition():
    rng = Random(1)
    for _ in range(300):
        a, b = ([rng.randrange(3) for _ in range(3)] for _ in range(2))
        assert dominates(a, b) == beats(a, b)


def test_equal_points_do_not_dominate_each_other():
    assert not dominates((1, 2), (1, 2))
    assert fronts([(1, 2), (1, 2), (0, 2)]) == [[0, 1], [2]]


def test_crowding_is_the_gap_between_the_neighbours():
    assert crowding([(0, 4), (1, 2), (4, 0)]) == [math.inf, 2.0, math.inf]
    assert crowding([(0, 4), (1, 3), (2, 2), (4, 0)])[1:3] == [1.0, 1.5]
    assert crowding([(1, 1), (1, 1)]) == [math.inf, math.inf]


def test_nsga2_finds_the_front_of_a_small_space():
    space = SearchSpace(Choice(f"c{i}", "value", tuple(range(4))) for i in range(5))

    def metrics(architecture):
        values = [float(v) for v in architecture.values()]
        return {"default": sum(values) - values[0] ** 2, "params": sum(v * v for v in values)}

    every = [metrics(a) for a in space.enumerate()]
    points = [(m["default"], -m["params"]) for m in every]
    truth = {points[i] for i in unbeaten(points)}
    strategy = Nsga2(space, seed=1)
    for _ in range(400):
        proposal = strategy.ask()
        strategy.tell(proposal.id, Outcome(metrics(proposal.architecture)))
    found = [t.outcome.metrics for t in strategy.front()]
    reached = {(m["default"], -m["params"]) for m in found}
    assert len(reached & truth) >= 0.9 * len(truth)
    assert found[0]["default"] == max(m["default"] for m in found)


def test_nsga2_needs_two_objectives_and_says_how():
    space = SearchSpace([Choice("a", "value", (1, 2))])
    with pytest.raises(OptionError, match="at least two"):
        Nsga2(space, objectives={"accuracy": "max"})
    with pytest.raises(OptionError, match="in place of 'objective'"):
        Nsga2(space, goal="min")


WIDE = SearchSpace(Choice(f"c{i}", "value", tuple(range(9))) for i in range(6))


def tell_line(strategy, values):
    """Tells results that lie on one front: more is gained in one metric than lost in the other."""
    for value in values:
        strategy.tell(strategy.ask().id, Outcome({"default": float(value), "params": float(value)}))


def test_nsga2_prefers_the_less_crowded_of_one_front():
    strategy = Nsga2(WIDE, population=4)
    tell_line(strategy, [0, 1, 2, 3])
    tell_line(strategy, [10, 20, 21, 22])
    kept = [strategy.trials[i].outcome.metrics["default"] for i in strategy._members]
    # The ends, then the gaps of the neighbours: 17 around 10, 11 around 20, 8 around 3, 2.
    assert sorted(kept[:2]) == [0.0, 22.0] and kept[2:] == [10.0, 20.0]


def test_nsga2_lets_the_better_of_two_be_the_parent():
    strategy = Nsga2(WIDE, population=4, crossover_share=0.0, repeats=True)
    for number in range(4):  # each dominates those before it
        outcome = Outcome({"default": float(number), "params": float(-number)})
        strategy.tell(strategy.ask().id, outcome)
    members = [strategy.trials[i].architecture for i in range(4)]
    counts = [0] * 4
    for _ in range(320):
        child = strategy.ask().architecture
        for i, member in enumerate(members):
            counts[i] += sum(child[key] != member[key] for key in WIDE) == 1
    # Of 16 equally likely pairs the best is in 7, the worst is alone in 1.
    assert sum(counts) == 320
    assert 110 < counts[3] < 170 and 5 < counts[0] < 40
