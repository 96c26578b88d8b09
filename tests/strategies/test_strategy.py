from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest

from nas_plugin.contracts.strategy import make
from nas_plugin.errors import OptionError, StrategyError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Exhausted, GridSearch, InfeasibleError, Outcome, strategies


@pytest.fixture
def space():
    return SearchSpace(Choice(key, "layer", ("a", "b", "c")) for key in ("one", "two"))


def test_the_smallest_is_best_where_the_goal_is_min(space):
    strategy = strategies.get("random")(space, objective="loss", goal="min")
    for loss in (3.0, 1.0, 2.0):
        strategy.tell(strategy.ask().id, Outcome({"loss": loss}))
    assert strategy.best.outcome.metrics == {"loss": 1.0}
    assert strategy.front() == [strategy.best]


def test_the_first_of_equals_is_best(space):
    strategy = strategies.get("random")(space)
    for _ in range(3):
        strategy.tell(strategy.ask().id, Outcome({"default": 1.0}))
    assert strategy.best.proposal.id == 0


def test_a_wrong_goal_is_refused(space):
    with pytest.raises(OptionError, match="'max' or 'min', got 'up'"):
        strategies.get("random")(space, goal="up")


def test_a_missing_objective_names_what_there_is(space):
    strategy = strategies.get("random")(space, objective="accuracy")
    with pytest.raises(StrategyError, match=r"'accuracy', only \['loss'\]"):
        strategy.tell(strategy.ask().id, Outcome({"loss": 1.0}))


def test_the_end_of_a_space_says_how_many_there_were(space):
    strategy = strategies.get("random")(space, constraint=lambda a: a["one"] != "a")
    for _ in range(6):
        strategy.ask()
    with pytest.raises(Exhausted, match="All 6 legal"):
        strategy.ask()


def test_repeats_are_proposed_only_where_they_are_allowed(space):
    strategy = strategies.get("random")(space, repeats=True)
    proposed = [strategy.ask().architecture for _ in range(100)]
    assert len(set(proposed)) == 9


def test_the_state_of_another_strategy_or_objective_is_refused(space):
    state = strategies.get("random")(space).state_dict()
    with pytest.raises(StrategyError, match="another strategy: 'random', expected 'grid'"):
        strategies.get("grid")(space).load_state_dict(state)
    with pytest.raises(StrategyError, match="another objective"):
        strategies.get("random")(space, goal="min").load_state_dict(state)


def test_the_grid_goes_in_the_order_of_the_space(space):
    strategy = strategies.get("grid")(space)
    assert [strategy.ask().architecture for _ in range(9)] == list(space.enumerate())
    again = strategies.get("grid")(space, repeats=True)
    assert [again.ask().architecture for _ in range(18)] == 2 * list(space.enumerate())


def test_strategies_and_evaluation_load_without_torch_and_nni():
    code = (
        "import sys, nas_plugin.strategies as s, nas_plugin.evaluation\n"
        "s.strategies.names()\n"
        "print({'torch', 'nni', 'sklearn'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_the_grid_of_a_huge_space_ends_where_nothing_is_allowed(monkeypatch):
    monkeypatch.setattr("nas_plugin.strategies.grid._MOST_REFUSED", 1000)
    huge = SearchSpace(Choice(f"c{i}", "value", tuple(range(8))) for i in range(12))
    strategy = GridSearch(huge, constraint=lambda _: False)
    with pytest.raises(InfeasibleError, match="1,000 architectures"):
        strategy.ask()


#: A grid draws nothing, and policies draw from what they learn.
DRAWING = sorted(set(strategies.names()) - {"grid", "ppo", "reinforce"})


@pytest.mark.parametrize("name", DRAWING)
def test_every_first_architecture_is_drawn_as_the_user_says(name):
    space = SearchSpace(Choice(f"c{i}", "layer", tuple("abc")) for i in range(9))
    rows = [space.sample(Random(seed)) for seed in range(400)]
    strategy = make(name, space, sampling=lambda rng: rows[rng.randrange(400)], seed=1)
    assert all(strategy.ask().architecture in rows for _ in range(5))


def test_ways_of_sampling_have_names():
    space = SearchSpace(
        [
            Choice("depth", "repeat", (1, 2)),
            Choice("op", "layer", tuple("abcdefgh"), active_if=((("depth", (2,)),),)),
        ]
    )
    shares = {}
    for sampling in ("uniform", "per_choice"):
        strategy = strategies.get("random")(space, sampling=sampling, repeats=True)
        drawn = [strategy.ask().architecture["depth"] for _ in range(900)]
        shares[sampling] = drawn.count(1)
    # One of nine architectures has depth 1: 100 and 450, each within four standard deviations.
    assert 62 < shares["uniform"] < 138 and 390 < shares["per_choice"] < 510
    with pytest.raises(OptionError, match="sampling must be one of uniform, per_choice"):
        strategies.get("random")(space, sampling="rows")
