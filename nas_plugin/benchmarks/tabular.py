"""What all benchmarks on a compact file share: finding the column that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nas_plugin.benchmarks.benchmark import Benchmark
from nas_plugin.benchmarks.table import Array, Column, Table
from nas_plugin.errors import BenchmarkError
from nas_plugin.space.architecture import Architecture

#: Metrics that `Benchmark.cost` reads, the first that a table holds.
COST_METRICS = ("trainval_seconds", "train_seconds", "cost_seconds")

_Asked = tuple[str, str | None, int | None, str, int | None]


class TabularBenchmark(Benchmark):
    """A benchmark whose values lie in a `Table`."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.name = str(table.header["name"])
        self.release = str(table.header["release"])
        self.datasets = tuple(table.header["datasets"])
        self._answers: dict[_Asked, Array] = {}

    def __len__(self) -> int:
        return self.table.rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.name}', {len(self):,} rows)"

    def columns(self) -> list[Column]:
        return list(self.table.columns)

    def query(
        self,
        architecture: Any,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        split: str = "valid",
        metric: str = "accuracy",
        seed: int | None = None,
    ) -> float:
        values = self._answers.get((metric, dataset, epochs, split, seed))
        if values is None:
            values = self._find((metric, dataset, epochs, split, seed))
        row = self.index(architecture)
        value: float = values.item(row)
        if value != value:
            raise self._no_run(row, (metric, dataset, epochs, split, seed))
        return value

    def column(
        self,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        split: str = "valid",
        metric: str = "accuracy",
        seed: int | None = None,
    ) -> Array:
        asked = (metric, dataset, epochs, split, seed)
        values = self._answers.get(asked)
        return self._find(asked) if values is None else values

    def cost_column(self, *, dataset: str | None = None, epochs: int | None = None) -> Array:
        held = {column.metric for column in self.table.columns}
        for metric in COST_METRICS:
            if metric in held:
                return self.column(metric=metric, dataset=dataset, epochs=epochs)
        raise BenchmarkError(
            f"{self.name} holds no simulated time; a cost needs one of {', '.join(COST_METRICS)}. "
            "Give the budget in trials instead."
        )

    def top(
        self,
        n: int,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        split: str = "test",
        metric: str = "accuracy",
        seed: int | None = None,
    ) -> list[tuple[Architecture, float]]:
        asked = (metric, dataset, epochs, split, seed)
        values = self.column(dataset=dataset, epochs=epochs, split=split, metric=metric, seed=seed)
        sign = -1.0 if self._match(asked).goal == "max" else 1.0
        order = np.argsort(sign * values.astype(np.float64), kind="stable")[: max(n, 0)]
        best = [int(row) for row in order if values[row] == values[row]]
        return [(self.architecture(row), float(values[row])) for row in best]

    def _find(self, asked: _Asked) -> Array:
        values = self.table.values(self._match(asked))
        self._answers[asked] = values
        return values

    def _match(self, asked: _Asked) -> Column:
        """Returns the column that answers, or says at which word the table has to pass."""
        metric, dataset, epochs, split, seed = asked
        if dataset is not None:
            dataset = self._dataset(dataset)
        left = self._keep(self.table.columns, "metric", metric, lambda c: c.metric)
        name = self.datasets[0] if dataset is None and self.datasets else dataset
        left = self._keep(left, "dataset", name, lambda c: c.dataset, metric)
        left = self._keep(left, "split", split, lambda c: c.split, metric, name)
        if epochs is None:
            schedules = [c.epochs for c in left if c.epochs is not None]
            epochs = max(schedules, default=None)
        left = self._keep(left, "epochs", epochs, lambda c: c.epochs, metric, name, split)
        exact = [c for c in left if c.seed == seed]
        if not exact:
            seeds = sorted({c.seed for c in left if c.seed is not None})
            raise BenchmarkError(
                f"{self.name} has no {metric} of seed {seed} for {name}, {split}, {epochs} epochs. "
                + (f"Seeds: {seeds}; None is the mean." if seeds else "It holds the mean only.")
            )
        return exact[0]

    def _keep(
        self,
        columns: Iterable[Column],
        word: str,
        wanted: object,
        value: Callable[[Column], object],
        *context: object,
    ) -> list[Column]:
        """Keeps the columns that hold `wanted` or do not vary with `word`."""
        columns = list(columns)
        kept = [c for c in columns if value(c) is None or value(c) == wanted]
        if kept:
            return kept
        allowed = sorted({value(c) for c in columns}, key=str)
        of = f" of {', '.join(map(str, context))}" if context else ""
        raise BenchmarkError(
            f"{self.name} has no {word} '{wanted}'{of}. Allowed: {', '.join(map(str, allowed))}."
        )

    def _dataset(self, spelled: str) -> str:
        """Understands the official spelling ``ImageNet16-120`` too."""
        name = spelled.lower().replace("-", "_")
        if name not in self.datasets:
            raise BenchmarkError(
                f"{self.name} has no data set '{spelled}'. Allowed: {', '.join(self.datasets)}."
            )
        return name

    def _row(self, index: Any) -> int:
        if not 0 <= index < len(self):
            raise BenchmarkError(f"{self.name} has the rows 0 to {len(self) - 1}, not {index}.")
        return int(index)

    def _no_run(self, row: int, asked: _Asked) -> BenchmarkError:
        metric, _, _, split, seed = asked
        column = self._match(asked)
        others = [
            c.seed
            for c in self.table.columns
            if (c.metric, c.dataset, c.epochs, c.split)
            == (column.metric, column.dataset, column.epochs, column.split)
            and c.seed is not None
            and not np.isnan(self.table.values(c)[row])
        ]
        return BenchmarkError(
            f"{self.name} has no {metric} of row {row} for {column.dataset}, {split}, "
            f"{column.epochs} epochs, seed {seed}. Seeds of that row: {sorted(others) or 'none'}."
        )
