"""What turns a proposal into an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from nas_plugin.errors import TrainingError
from nas_plugin.strategies.proposal import Outcome, Proposal


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates one proposal at a time."""

    def evaluate(self, proposal: Proposal) -> Outcome:
        """Returns metrics, or why there are none.

        Raises:
            TrainingError: If this architecture cannot be trained: a failure of the proposal.
                Any other error is a mistake of the set-up and ends the search.
        """
        ...


@runtime_checkable
class Workers(Protocol):
    """Evaluates several proposals at a time."""

    @property
    def slots(self) -> int:
        """How many proposals may be under way."""
        ...

    def submit(self, proposal: Proposal) -> None:
        """Begins an evaluation."""
        ...

    def collect(self) -> Sequence[tuple[Proposal, Outcome]]:
        """Waits until something has ended and returns what has."""
        ...

    def close(self) -> None:
        """Ends what is under way and lets the workers go."""
        ...


class InlineWorker:
    """An evaluator as the one worker, in this process."""

    slots = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._ended: list[tuple[Proposal, Outcome]] = []

    def submit(self, proposal: Proposal) -> None:
        self._ended.append((proposal, evaluate(self._evaluator, proposal)))

    def collect(self) -> Sequence[tuple[Proposal, Outcome]]:
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Has nothing to end."""


def evaluate(evaluator: Evaluator, proposal: Proposal) -> Outcome:
    """Returns the evaluator's outcome; a training that went wrong is a failure."""
    try:
        return evaluator.evaluate(proposal)
    except TrainingError as error:
        return Outcome(failure=str(error))
