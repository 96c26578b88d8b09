"""Strategies compared on a table: many seeds under one protocol."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any

from nas_plugin.benchmarks.benchmark import Benchmark
from nas_plugin.benchmarks.locate import open_benchmark
from nas_plugin.errors import OptionError
from nas_plugin.evaluation.budget import Budget
from nas_plugin.evaluation.search import search
from nas_plugin.evaluation.table import TableEvaluator, table_score
from nas_plugin.space.architecture import Architecture
from nas_plugin.strategies.proposal import Trial, by_value
from nas_plugin.strategies.strategy import Strategy, make_strategy, strategies
from nas_plugin.strategies.zero_cost import best_by_score

#: How many architectures a zero-cost score chooses as a warm start, and among how many.
WARM_STARTS, WARM_POOL = 10, 1000
_CHUNK = 10


@dataclass(frozen=True)
class Protocol:
    """What is held equal for all strategies.

    Args:
        benchmark: Name or path of the table.
        dataset: The data set of the signal.
        epochs: The schedule of the signal; None if the table has one.
        budget: Of every run.
        cost: The metric of the table that is charged; None is that of `Benchmark.cost`.
    """

    benchmark: str
    dataset: str | None
    epochs: int | None
    budget: Budget
    cost: str | None = None

    @classmethod
    def make(
        cls,
        benchmark: str,
        *,
        dataset: str | None,
        epochs: int | None,
        budget: Budget,
        cost: str | None = None,
    ) -> Protocol:
        """Fills in the first data set and the shortest schedule of its validation accuracy.

        Raises:
            BenchmarkError: If the table does not hold the signal.
        """
        table = open_benchmark(benchmark)
        if dataset is None and table.datasets:
            dataset = table.datasets[0]
        if epochs is None:
            schedules = [
                column.epochs
                for column in table.columns()
                if column.metric == "accuracy"
                and column.dataset in (dataset, None)
                and column.split == "valid"
                and column.epochs is not None
            ]
            epochs = min(schedules, default=None)
        protocol = cls(benchmark, dataset, epochs, budget, cost)
        protocol.evaluator(table)
        return protocol

    def evaluator(self, table: Benchmark) -> TableEvaluator:
        """Returns what answers the strategies."""
        return TableEvaluator(table, dataset=self.dataset, epochs=self.epochs, cost=self.cost)


@dataclass(frozen=True)
class Entrant:
    """A strategy with its options.

    Args:
        label: As it was written; names the rows of the report.
        name: The strategy's name.
        options: Its own arguments.
        warm_start: The zero-cost score of the table that chooses the first architectures.
        score: The zero-cost score of the table that the strategy is given.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    warm_start: str | None = None
    score: str | None = None

    @property
    def uses_zero_cost(self) -> bool:
        """Whether it knows more than the table's validation signal."""
        return self.warm_start is not None or self.score is not None

    def make(self, table: Benchmark, dataset: str | None, seed: int) -> Strategy:
        """Makes the strategy for one seed; it draws rows, and proposes only what has a row.

        Raises:
            OptionError: If the strategy does not take the options.
        """
        options = {"sampling": table.sample, **self.options}
        constraint = None if len(table) == table.space.size else table.is_legal
        if constraint is not None:
            options["constraint"] = constraint
        if self.score is not None:
            options["score"] = table_score(table, self.score, dataset=dataset)
        if self.warm_start is not None:
            score = table_score(table, self.warm_start, dataset=dataset)
            options["warm_start"] = best_by_score(
                table.space,
                score,
                WARM_STARTS,
                seed=seed,
                pool=WARM_POOL,
                constraint=constraint,
                sampling=options["sampling"],
            )
        return make_strategy(self.name, table.space, seed=seed, **options)


def parse_entrant(text: str) -> Entrant:
    """Reads ``name`` or ``name:option=value,option=value``; values are JSON or else text.

    ``warm_start=zc_…`` and ``score=zc_…`` name zero-cost scores of the table.

    Raises:
        OptionError: If the text has another form.
        UnknownNameError: If there is no such strategy.
    """
    name, _, rest = text.partition(":")
    strategies.get(name)
    entrant = Entrant(label=text, name=name)
    options: dict[str, Any] = {}
    # Commas inside a list belong to its value.
    for part in re.split(r",(?![^\[]*\])", rest) if rest else ():
        key, found, value = part.partition("=")
        if not found or not key.isidentifier():
            raise OptionError(f"'{text}': expected option=value, found '{part}'.")
        if key == "warm_start":
            entrant = replace(entrant, warm_start=value)
        elif key == "score":
            entrant = replace(entrant, score=value)
        else:
            try:
                options[key] = json.loads(value)
            except ValueError:
                options[key] = value
    return replace(entrant, options=options)


def run_once(protocol: Protocol, entrant: Entrant, seed: int, table: Benchmark) -> dict[str, Any]:
    """Runs one strategy with one seed and returns a JSON record.

    The strategy is told validation results alone. What it found is looked up afterwards, for the
    report: at the longest schedule, on every data set; None is what the table does not hold.
    """
    strategy = entrant.make(table, protocol.dataset, seed)
    result = search(table.space, strategy, protocol.evaluator(table), protocol.budget)
    if result.best is None:
        raise OptionError(f"'{entrant.label}', seed {seed}: the budget is too small for one run.")
    found = result.best.architecture
    report = {
        dataset or "all": {
            split: _looked_up(table, found, dataset, split) for split in splits_of(table)
        }
        for dataset in table.datasets or (None,)
    }
    return {
        "strategy": entrant.label,
        "zero_cost": entrant.uses_zero_cost,
        "seed": seed,
        "evaluations": len(result.history),
        "simulated_seconds": result.simulated_seconds,
        "architecture": found.to_json(),
        "signal": result.best.value,
        "report": report,
        "path": list(_path(protocol, result.history, table)),
    }


def compare(
    protocol: Protocol, entrants: Sequence[Entrant], seeds: Sequence[int], *, workers: int = 1
) -> Iterator[dict[str, Any]]:
    """Yields a record for each strategy and seed, as they are done, from several processes."""
    tasks = [
        (protocol, entrant, list(seeds[start : start + _CHUNK]))
        for start in range(0, len(seeds), _CHUNK)
        for entrant in entrants
    ]
    if workers == 1:
        for task in tasks:
            yield from _run_chunk(*task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(_run_chunk, *task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield from future.result()
        finally:
            for future in futures:
                future.cancel()


def _run_chunk(protocol: Protocol, entrant: Entrant, seeds: list[int]) -> list[dict[str, Any]]:
    table = open_benchmark(protocol.benchmark)
    return [run_once(protocol, entrant, seed, table) for seed in seeds]


def splits_of(table: Benchmark) -> tuple[str, ...]:
    """Returns the splits that a report shows: a table of one's own may have no test results."""
    held = {column.split for column in table.columns() if column.metric == "accuracy"}
    return ("valid", "test") if held & {"test", None} else ("valid",)


def _looked_up(
    table: Benchmark, architecture: Architecture, dataset: str | None, split: str
) -> float | None:
    value = float(table.column(dataset=dataset, split=split).item(table.index(architecture)))
    return None if math.isnan(value) else value


def _path(
    protocol: Protocol, history: Sequence[Trial], table: Benchmark
) -> Iterator[tuple[float, float]]:
    """Yields (cost so far, reported accuracy) whenever the best by the signal changes."""
    best = (-math.inf, -math.inf)
    spent = 0.0
    for number, trial in enumerate(history, 1):
        seconds = trial.outcome.seconds if trial.outcome is not None else None
        spent = spent + seconds if seconds is not None else float(number)
        # As in `Strategy.best`, a higher fidelity comes before a better value.
        rank = (trial.proposal.fidelity or 0.0, by_value(trial))
        if trial.value is None or rank <= best:
            continue
        best = rank
        value = _looked_up(table, trial.architecture, protocol.dataset, splits_of(table)[-1])
        if value is not None:
            yield round(spent, 3), value
