"""BOHB's model: of which results it is, and how often it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from nas_plugin.space import Architecture, Choice, SearchSpace
from nas_plugin.strategies import Bohb, Outcome, Proposal
from nas_plugin.strategies.proposal import Trial

SPACE = SearchSpace(Choice(f"c{i}", "value", tuple(range(6))) for i in range(6))


class Model:
    """Notes the fidelities of the results that it is asked about."""

    def __init__(self) -> None:
        self.asked: list[set[float | None]] = []

    def suggest(self, results: Sequence[Trial], **options: Any) -> Architecture:
        assert len(results) >= 4
        self.asked.append({trial.proposal.fidelity for trial in results})
        return next(iter(SPACE.enumerate()))


def with_results(numbers: dict[float, int], share: float) -> tuple[Bohb, Model]:
    strategy, model = Bohb(SPACE, startup=4, random_share=share, seed=5), Model()
    strategy._densities = model  # type: ignore[assignment]
    for fidelity, n in numbers.items():
        for _ in range(n):
            i = len(strategy.trials)
            proposal = Proposal(i, SPACE.sample(strategy.rng), fidelity)
            strategy.trials[i] = Trial(proposal, Outcome({"default": 1.0}), 1.0)
            strategy.results.append(strategy.trials[i])
    return strategy, model


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({1.0: 9, 3.0: 4, 9.0: 3}, {3.0}),
        ({1.0: 9, 3.0: 4, 9.0: 4}, {9.0}),
        ({1.0: 4, 3.0: 3, 9.0: 0}, {1.0}),
    ],
)
def test_the_model_is_of_the_highest_fidelity_with_enough_results(
    numbers: dict[float, int], expected: set[float]
) -> None:
    strategy, model = with_results(numbers, share=0.0)
    strategy.suggest()

    assert model.asked == [expected]


def test_too_few_results_leave_everything_random() -> None:
    strategy, model = with_results({1.0: 3, 3.0: 3, 9.0: 3}, share=0.0)
    drawn = {strategy.suggest() for _ in range(20)}

    assert model.asked == [] and len(drawn) == 20
