"""The journal as a table: one row an ended trial."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.experiment.journal import Event

#: The outcome of a trial that ran what another had ended already; it is kept and never counts.
REPEATED = "repeated"


@dataclass(frozen=True)
class Row:
    """An ended trial, under the parameters that it took.

    `parameter` is None for a trial that ended before it took any, and for one that was added by
    hand in the portal; `architecture` is then what it stated, if anything. Times are seconds since
    1970; `claimed` is None where the trial left no word of its beginning.
    """

    trial: str | None
    parameter: int | None
    attempt: int | None
    outcome: str
    architecture: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    exit_code: int | None
    signal: str | None
    message: str
    proposed: float | None
    claimed: float | None
    ended: float

    @property
    def seconds(self) -> float | None:
        """How long the trial ran after it had its parameters."""
        return None if self.claimed is None else self.ended - self.claimed


def rows(events: Iterable[Event]) -> list[Row]:
    """Returns the trials of a journal in the order of their ends."""
    architectures: dict[int, Mapping[str, Any]] = {}
    proposed: dict[tuple[int, int], float] = {}
    claimed: dict[str, float] = {}
    found = []
    for event in events:
        kind = event["event"]
        if kind == "ask":
            architectures[event["parameter"]] = event["architecture"]
            proposed[event["parameter"], 0] = event["time"]
        elif kind == "again":
            proposed[event["parameter"], event["attempt"]] = event["time"]
        elif kind == "claim":
            claimed[event["trial"]] = event["time"]
        elif kind in ("end", "stray", "repeat"):
            parameter, attempt = event.get("parameter"), event.get("attempt")
            trial = event["trial"]
            found.append(
                Row(
                    trial=trial,
                    parameter=parameter,
                    attempt=attempt if parameter is not None else None,
                    outcome=REPEATED if kind == "repeat" else event["outcome"],
                    architecture=architectures.get(parameter, event.get("architecture"))
                    if parameter is not None
                    else event.get("architecture"),
                    metrics=event.get("metrics", {}),
                    exit_code=event.get("exit_code"),
                    signal=event.get("signal"),
                    message=event.get("message", ""),
                    proposed=proposed.get((parameter, attempt or 0))
                    if parameter is not None
                    else None,
                    claimed=claimed.get(trial) if trial is not None else None,
                    ended=event["time"],
                )
            )
    return found


def succeeded(table: Sequence[Row]) -> list[Row]:
    """Returns the rows that count: never a failed, killed or repeated trial."""
    return [row for row in table if row.outcome == "succeeded" and row.parameter is not None]


def best(table: Sequence[Row], metric: str, *, minimize: bool = False) -> list[Row]:
    """Returns the rows that count, best first; of equals the one that was proposed first.

    Raises:
        OptionError: If no trial reported the metric.
    """
    counted = succeeded(table)
    having = [row for row in counted if metric in row.metrics]
    if counted and not having:
        raise OptionError(
            f"No trial reported the metric '{metric}'. Reported: {', '.join(metric_names(table))}."
        )
    sign = 1.0 if minimize else -1.0
    return sorted(having, key=lambda row: (sign * row.metrics[metric], row.parameter))


def pareto(table: Sequence[Row], maximize: Sequence[str], minimize: Sequence[str]) -> list[Row]:
    """Returns the rows that no other row equals or beats in all and beats in one metric."""
    names = [(name, -1.0) for name in maximize] + [(name, 1.0) for name in minimize]
    counted = [row for row in succeeded(table) if all(n in row.metrics for n, _ in names)]
    costs = [tuple(sign * row.metrics[name] for name, sign in names) for row in counted]

    def beaten(cost: tuple[float, ...]) -> bool:
        return any(
            other != cost and all(o <= c for o, c in zip(other, cost, strict=True))
            for other in costs
        )

    return [row for row, cost in zip(counted, costs, strict=True) if not beaten(cost)]


def metric_names(table: Sequence[Row]) -> list[str]:
    """Returns the names of all reported metrics, ``default`` first."""
    names = {name for row in table for name in row.metrics}
    return sorted(names, key=lambda name: (name != "default", name))


def outcomes(table: Sequence[Row]) -> dict[str, int]:
    """Returns outcome -> number of trials, most frequent first."""
    return dict(Counter(row.outcome for row in table).most_common())


def to_json(table: Sequence[Row]) -> str:
    """Returns the rows as JSON text."""
    return json.dumps([asdict(row) for row in table], indent=2) + "\n"


def to_csv(table: Sequence[Row]) -> str:
    """Returns the rows as CSV: a column a metric and a key, lists joined by ``+``."""
    metrics = metric_names(table)
    keys = sorted({key for row in table for key in row.architecture or {}})
    fixed = ["trial", "parameter", "attempt", "outcome", "exit_code", "signal", "message"]
    times = ["proposed", "claimed", "ended", "seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fixed, *times, *metrics, *keys])
    for row in table:
        architecture = row.architecture or {}
        values = [getattr(row, name) for name in (*fixed, *times)]
        values += [row.metrics.get(name) for name in metrics]
        values += [_cell(architecture.get(key)) for key in keys]
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "+".join(str(v) for v in value) if isinstance(value, (list, tuple)) else value
