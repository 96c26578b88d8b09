"""What TPE, local search and zero-cost search propose, against hand counts."""

from __future__ import annotations

from random import Random

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import LocalSearch, Outcome, Tpe, ZeroCost, best_by_score, strategies
from nas_plugin.strategies._density import Densities


@pytest.fixture
def space():
    return SearchSpace(Choice(f"c{i}", "value", tuple(range(5))) for i in range(5))


def total(architecture):
    return float(sum(architecture.values()))


def run(strategy, steps):
    for _ in range(steps):
        proposal = strategy.ask()
        strategy.tell(proposal.id, Outcome({"default": total(proposal.architecture)}))
    return strategy


def test_densities_count_values_and_a_prior(space):
    strategy = run(strategies.get("random")(space), 8)
    results = strategy.results
    table = Densities(space, good=0.25, prior=2.0)._fit(results)
    for row, key in enumerate(space):
        for column in range(5):
            count = sum(trial.architecture[key] == column for trial in results)
            assert table[row][column] == pytest.approx((count + 2.0 / 5) / (8 + 2.0))


def test_densities_leave_out_choices_that_do_not_matter():
    below = ((("top", ("a",)),),)
    space = SearchSpace(
        [Choice("top", "layer", ("a", "b")), Choice("sub", "layer", ("x", "y"), active_if=below)]
    )
    strategy = strategies.get("random")(space, warm_start=[{"top": "b"}])
    strategy.tell(strategy.ask().id, Outcome({"default": 1.0}))
    assert Densities(space, good=0.5, prior=1.0)._fit(strategy.results)[1] == [0.5, 0.5]


def test_tpe_prefers_what_good_results_have(space):
    strategy = run(Tpe(space, seed=1), 60)
    late = [total(t.architecture) for t in strategy.results[-20:]]
    assert sum(late) / 20 > 13  # 10 is what chance gives


@pytest.mark.parametrize("first_improvement", [True, False])
def test_local_search_climbs_to_the_top_and_begins_anew(space, first_improvement):
    strategy = LocalSearch(space, startup=1, first_improvement=first_improvement, seed=2)
    steps = 0
    while strategy.best is None or strategy.best.value < 20:
        run(strategy, 1)
        steps += 1
        assert steps < 200
    # All neighbours of the top are proposed before a new walk begins elsewhere.
    top = strategy.best.architecture
    run(strategy, 40)
    near = {
        t.architecture
        for t in strategy.results
        if sum(t.architecture[k] != top[k] for k in space) == 1
    }
    assert len(near) == 20
    assert sum(strategy.results[-1].architecture[k] != top[k] for k in space) >= 1


def test_zero_cost_goes_down_the_score(space):
    strategy = ZeroCost(space, score=total, pool=50)
    scores = [total(strategy.ask().architecture) for _ in range(50)]
    assert scores == sorted(scores, reverse=True)
    assert total(strategy.ask().architecture) > scores[-1]  # of the next pool


def test_the_best_by_score_are_the_best_of_the_pool(space):
    pool = []

    def score(architecture):
        pool.append(architecture)
        return total(architecture)

    found = best_by_score(space, score, 4, seed=3, pool=40, constraint=lambda a: a["c0"] == 1)
    assert len(pool) == len({tuple(a.values()) for a in pool}) == 40
    assert len({a["c4"] for a in pool}) == 5
    assert [total(a) for a in found] == sorted(map(total, pool), reverse=True)[:4]
    assert len({tuple(a.values()) for a in found}) == 4 and set(found) <= set(pool)
    assert all(a["c0"] == 1 for a in found)


def test_a_pool_larger_than_the_space_holds_all_of_it():
    tiny = SearchSpace([Choice("a", "value", (1, 2, 3))])
    assert [a["a"] for a in best_by_score(tiny, total, 3, pool=100)] == [3, 2, 1]
    with pytest.raises(OptionError, match=r"\[1, pool\]"):
        best_by_score(tiny, total, 0)


def test_the_pool_of_a_warm_start_is_sampled_as_asked(space):
    rows = [space.sample(Random(seed)) for seed in range(90)]
    found = best_by_score(space, total, 5, pool=10, sampling=lambda rng: rows[rng.randrange(90)])
    assert all(architecture in rows for architecture in found)
