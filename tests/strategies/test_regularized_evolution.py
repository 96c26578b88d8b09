from __future__ import annotations

from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Outcome, RegularizedEvolution


def test_a_child_changes_one_choice_of_a_living_member():
    space = SearchSpace(Choice(f"c{i}", "value", tuple(range(5))) for i in range(6))
    strategy = RegularizedEvolution(space, population=4, sample=2, seed=1)
    for number in range(60):
        living = [trial.architecture for trial in strategy.results[-4:]]
        proposal = strategy.ask()
        if number >= 4:
            changes = [
                sum(proposal.architecture[key] != member[key] for key in space) for member in living
            ]
            assert min(changes) == 1
        # The first are the best: without aging they would be the parents for ever.
        strategy.tell(proposal.id, Outcome({"default": -number}))


def test_a_sample_of_many_takes_the_best_member():
    space = SearchSpace(Choice(f"c{i}", "value", tuple(range(9))) for i in range(6))
    strategy = RegularizedEvolution(space, population=5, sample=200)
    for number in range(5):
        strategy.tell(strategy.ask().id, Outcome({"default": float(number == 2)}))
    best = strategy.trials[2].architecture
    for _ in range(10):
        child = strategy.ask().architecture
        assert sum(child[key] != best[key] for key in space) == 1
