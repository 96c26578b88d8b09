"""What a strategy hands out, and what it is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas_plugin.errors import StrategyError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace


class Exhausted(StrategyError):  # noqa: N818  # a state of the search, like StopIteration
    """Every legal architecture has been proposed and repeats are forbidden."""


class Waiting(StrategyError):  # noqa: N818  # a state of the search, like StopIteration
    """Nothing can be proposed before an open proposal is told."""


class InfeasibleError(StrategyError):
    """No architecture that the constraint allows was found."""


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate.

    Args:
        id: Names the proposal in `Strategy.tell`; counts from 0.
        architecture: What to evaluate.
        fidelity: How thoroughly (epochs, as a rule); None is as thoroughly as the evaluator does.
    """

    id: int
    architecture: Architecture
    fidelity: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON."""
        return {
            "id": self.id,
            "architecture": self.architecture.to_json(),
            "fidelity": self.fidelity,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], space: SearchSpace) -> Proposal:
        """Reads what `to_json` wrote."""
        return cls(data["id"], space.architecture(data["architecture"]), data["fidelity"])


@dataclass(frozen=True)
class Outcome:
    """What became of a proposal: metrics, or why there are none.

    Args:
        metrics: Name → value.
        failure: Why the evaluation failed; None if it succeeded.
        seconds: What it cost, measured or simulated, where the evaluator knows.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON; what is not finite, which JSON cannot hold, is its name."""
        return {
            "metrics": {name: _spell(value) for name, value in self.metrics.items()},
            "failure": self.failure,
            "seconds": None if self.seconds is None else _spell(self.seconds),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """Reads what `to_json` wrote."""
        metrics = {name: _number(value) for name, value in data["metrics"].items()}
        seconds, failure = data["seconds"], data["failure"]
        if failure is not None and not isinstance(failure, str):
            raise TypeError(f"failure is text or null, got {type(failure).__name__}")
        return cls(metrics, failure, None if seconds is None else _number(seconds))


@dataclass(eq=False)
class Trial:
    """A proposal and, once told, its outcome.

    Args:
        proposal: What was proposed.
        outcome: None while the proposal is open.
        value: The objective, such that more is better; None while open and after a failure.
    """

    proposal: Proposal
    outcome: Outcome | None = None
    value: float | None = None

    @property
    def architecture(self) -> Architecture:
        """What was proposed."""
        return self.proposal.architecture


def by_value(trial: Trial) -> float:
    """Orders trials by their objective; what failed or is open comes first."""
    return -math.inf if trial.value is None else trial.value


def by_rank(trial: Trial) -> tuple[float, int]:
    """Orders trials as `by_value` does; of equals, the one that was proposed first is greater.

    Not the one that was told first, which with several workers is a matter of timing.
    """
    return by_value(trial), -trial.proposal.id


def _spell(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _number(value: float | str) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    return float(value) if isinstance(value, str) else value
