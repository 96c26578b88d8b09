"""Experiments as text: lists, states, best architectures, failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas_plugin.experiment import results
from nas_plugin.experiment.database import disagreements
from nas_plugin.experiment.journal import journal_path, read_journal
from nas_plugin.experiment.launch import (
    Running,
    experiment_entry,
    experiment_folder,
    find_running,
    list_experiments,
)
from nas_plugin.experiment.results import Row


def experiment_table(name: str, damaged: Callable[[str], None] | None = None) -> list[Row]:
    """Returns the rows of an experiment given by its id or folder.

    Args:
        name: The id or the folder.
        damaged: Takes what is wrong with a line of the journal, which is then left out; None makes
            it an error.
    """
    return results.rows(read_journal(journal_path(_folder(name)), damaged))


def report(
    table: Sequence[Row],
    metric: str = "default",
    *,
    minimize_metric: bool = False,
    pareto_with: Sequence[str] = (),
    n: int = 10,
) -> str:
    """Returns the best rows, the Pareto set if asked for, and the failures."""
    ranked = results.best(table, metric, minimize=minimize_metric)
    parts = [f"best {min(n, len(ranked))} of {len(ranked)} by {metric}", _lines(ranked[:n])]
    if pareto_with:
        higher = [] if minimize_metric else [metric]
        lower = [*([metric] if minimize_metric else []), *pareto_with]
        front = results.pareto(table, higher, lower)
        front.sort(key=lambda row: row.metrics[lower[-1]])
        parts += ["", f"Pareto set: {len(front)} of {len(ranked)}", _lines(front)]
    bad = [row for row in table if row.outcome not in ("succeeded", results.REPEATED)]
    if bad:
        parts += ["", f"not succeeded: {len(bad)} trials"]
        parts += [f"  {_who(row)}  {row.outcome}: {row.message}" for row in bad]
    return "\n".join(parts)


def summary(running: Running) -> tuple[str, bool]:
    """Returns the report of an experiment that has just ended, and whether it has any result."""
    folder = running.folder
    if not journal_path(folder).is_file():
        trials = running.api.trials()
        good = sum(t["status"] == "SUCCEEDED" and bool(t.get("finalMetricData")) for t in trials)
        text = "It has no journal: its tuner is neither nas_plugin's nor one of NNI's that it runs."
        return f"done: {good} of {len(trials)} trials have a result. {text}", good > 0
    table = results.rows(read_journal(journal_path(folder)))
    counts = ", ".join(f"{count} {name}" for name, count in results.outcomes(table).items())
    text = f"done: {counts or 'no trial ended'}\n{report(table, n=3)}"
    return text, bool(results.succeeded(table))


def status(experiment_id: str) -> str:
    """Returns how an experiment stands, with the cause if it has failed."""
    entry = experiment_entry(experiment_id)
    lines = [f"experiment {experiment_id}: {entry['status']}"]
    if entry["status"] != "STOPPED":
        running = find_running(experiment_id)
        now, errors = running.api.status()
        lines[0] = f"experiment {experiment_id}: {now}, portal at {running.url}"
        lines += [f"  NNI: {error}" for error in errors]
    folder = Path(entry["logDir"]) / experiment_id
    if journal_path(folder).is_file():
        events = list(read_journal(journal_path(folder)))
        counts = results.outcomes(results.rows(events))
        asked = sum(event["event"] == "ask" for event in events)
        told = sum(event["event"] == "tell" for event in events)
        lines.append(f"  {asked} architectures proposed, {told} with an outcome")
        lines += [f"  {count} trials {name}" for name, count in counts.items()]
        lines += [f"  tuner: {event['message']}" for event in events if event["event"] == "error"]
    return "\n".join(lines)


def listing() -> str:
    """Returns all experiments of this machine, one per line."""
    lines = [_entry(name, entry) for name, entry in list_experiments().items()]
    return "\n".join(lines) or "no experiments"


def check(name: str, damaged: Callable[[str], None] | None = None) -> str:
    """Returns the rows of NNI's database that are wrong; `damaged` as in `experiment_table`."""
    table = experiment_table(name, damaged)
    wrong = disagreements(_folder(name), table)
    lines = [f"{len(wrong)} of {len(table)} rows of NNI's database disagree with the journal"]
    for row in wrong:
        lines.append(f"  trial {row.number} ({row.trial}), {row.what}:")
        lines.append(f"    NNI      {_short(row.nni)}")
        lines.append(f"    journal  {_short(row.journal)}")
    return "\n".join(lines)


def _folder(name: str) -> Path:
    path = Path(name).resolve()
    return path if journal_path(path).is_file() else experiment_folder(name)


def _lines(table: Sequence[Row]) -> str:
    return "\n".join(f"  {_who(row)}  {_metrics(row)}  {_short(row.architecture)}" for row in table)


def _who(row: Row) -> str:
    if row.parameter is None:
        return f"[trial {row.trial}]"
    again = f", attempt {row.attempt + 1}" if row.attempt else ""
    return f"[{row.parameter}{again}, trial {row.trial}]"


def _metrics(row: Row) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in row.metrics.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _entry(name: str, entry: dict[str, Any]) -> str:
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["startTime"] / 1000))
    title = entry.get("experimentName") or ""
    return f"{name}  {entry['status']:<12} port {entry['port']:<6} {began}  {title}".rstrip()
