"""What became of a trial, decided from everything that is known about its end."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

OutcomeName = Literal[
    "succeeded",
    "failed",
    "killed",
    "no_result",
    "not_a_number",
    "invalid_result",
    "wrong_architecture",
    "stopped",
]

#: Outcomes after which the same architecture is tried again.
RETRIED: frozenset[OutcomeName] = frozenset({"failed", "killed"})


@dataclass(frozen=True)
class Evidence:
    """What is known about a trial that has ended.

    Args:
        status: What NNI's manager calls the end (``SUCCEEDED``, ``FAILED``, ``USER_CANCELED``, …).
        exit_code: The process's exit code, where known.
        signal: The name of the signal that ended it, where known.
        asked_to_stop: Whether the manager was ending it (a user's click, a limit of time).
        metrics: The final result, if it is one.
        refused: Why a reported result is none: ``not_a_number`` or ``invalid_result``.
        architecture: What the trial says that it ran.
        message: The exception that ended it, or what was wrong with the result.
    """

    status: str
    exit_code: int | None = None
    signal: str | None = None
    asked_to_stop: bool = False
    metrics: Mapping[str, float] | None = None
    refused: Literal["not_a_number", "invalid_result"] | None = None
    architecture: Mapping[str, Any] | None = None
    message: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a trial, as the journal keeps it."""

    outcome: OutcomeName
    exit_code: int | None = None
    signal: str | None = None
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def judge(evidence: Evidence, proposed: Mapping[str, Any]) -> Verdict:
    """Decides what became of a trial that was to run the architecture `proposed`."""
    name, code = evidence.signal, evidence.exit_code
    if name is None and code is not None and code > 128:
        # A shell between the manager and the trial turns "killed by n" into the code 128 + n.
        name = _signal_name(code - 128)

    def verdict(outcome: OutcomeName, message: str = "") -> Verdict:
        metrics = dict(evidence.metrics or {})
        return Verdict(outcome, code, name, message or evidence.message, metrics)

    if evidence.refused is not None:
        return verdict(evidence.refused)
    if evidence.status == "EARLY_STOPPED" or evidence.asked_to_stop or name == "SIGINT":
        # NNI's database does not tell these apart either.
        return verdict("stopped", "ended by the user, the assessor or the limit of a trial's time")
    if name is not None:
        return verdict("killed", f"killed by {name}")
    if evidence.status in ("USER_CANCELED", "SYS_CANCELED"):
        # NNI's word for every end by a signal; which one is known where the guard is loaded.
        return verdict("killed", "killed by a signal")
    if code not in (None, 0) or evidence.status == "FAILED":
        shown = f"exit code {code}" if code is not None else "an exit code other than 0"
        why = f": {evidence.message}" if evidence.message else ""
        return verdict("failed", f"{shown}{why}")
    if evidence.metrics is None:
        return verdict("no_result", "ended without report_final")
    if evidence.architecture is not None and dict(evidence.architecture) != dict(proposed):
        return verdict("wrong_architecture", "the trial ran another architecture than proposed")
    return verdict("succeeded")


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
