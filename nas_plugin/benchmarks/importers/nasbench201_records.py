"""Collecting the numbers of official NAS-Bench-201 records into columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nas_plugin.benchmarks.table import Array, Column
from nas_plugin.errors import FileError

#: Official name of the trained set → ours.
_DATASETS = {
    "cifar10-valid": "cifar10",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "ImageNet16-120": "imagenet16_120",
}
#: Which evaluation of a run is which split. The test images of a model that was trained on half
#: of CIFAR-10 are left out: the benchmark's test accuracy is that after training on all of it.
_SPLITS = {
    "cifar10-valid": {"x-valid": "valid"},
    "cifar10": {"ori-test": "test"},
    "cifar100": {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"},
    "ImageNet16-120": {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"},
}
_SCHEDULES = {"less": 12, "12": 12, "full": 200, "200": 200}
#: The published releases have about 200.
_MAX_COLUMNS = 1000
_MAX_VALUE = 1e30
#: Where runs of one architecture disagree about its size, the official API takes this seed.
_TRUSTED_SEED = 888


class RecordTable:
    """Columns that fill row by row; a row without a run stays NaN.

    Args:
        rows: The number of architectures.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._columns: dict[Column, Array] = {}

    def columns(self) -> dict[Column, Array]:
        """Returns what was collected."""
        return self._columns

    def add(self, row: int, record: Any, what: str) -> str:
        """Reads one record and returns its architecture's string.

        Raises:
            FileError: If the record has another structure.
        """
        try:
            strings = set()
            for schedule, results in record.items():
                if schedule not in _SCHEDULES:
                    continue
                if not isinstance(results["arch_str"], str):
                    raise TypeError("'arch_str' is no text")
                strings.add(results["arch_str"])
                for trained, seeds in results["dataset_seed"].items():
                    if trained in _DATASETS and seeds:
                        runs = {int(s): results["all_results"][trained, s] for s in seeds}
                        self._add_runs(row, trained, _SCHEDULES[schedule], runs)
            if len(strings) != 1:
                raise ValueError(f"it names {len(strings)} architectures")
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise FileError(
                f"{what}: not an official record: {type(error).__name__} {str(error)[:200]}."
            ) from error
        return strings.pop()

    def _add_runs(
        self, row: int, trained: str, epochs: int, runs: Mapping[int, Mapping[str, Any]]
    ) -> None:
        dataset = _DATASETS[trained]
        for run in runs.values():
            if run["epochs"] != epochs:
                raise ValueError(f"a run of {run['epochs']} epochs in the schedule of {epochs}")
        for name, split in _SPLITS[trained].items():
            for metric, field, goal in (
                ("accuracy", "eval_acc1es", "max"),
                ("loss", "eval_losses", "min"),
            ):
                values = {s: _last(run[field], f"{name}@{epochs - 1}") for s, run in runs.items()}
                known = {s: v for s, v in values.items() if v is not None}
                for seed, value in known.items():
                    self._set(row, Column(metric, dataset, epochs, split, seed, goal), value)
                if known:
                    mean = sum(known.values()) / len(known)
                    self._set(row, Column(metric, dataset, epochs, split, None, goal), mean)
        if trained != "cifar10":  # costs are those of the run that gives the validation signal
            for metric, value in _seconds(runs, epochs):
                self._set(row, Column(metric, dataset, epochs, goal="min"), value)
        for metric, field, scale in (("params", "params", 1e6), ("flops", "flop", 1.0)):
            size = _agreed({seed: float(run[field]) for seed, run in runs.items()})
            self._set(row, Column(metric, dataset, goal="min"), size * scale)

    def _set(self, row: int, column: Column, value: float) -> None:
        if abs(value) > _MAX_VALUE:
            raise ValueError(f"{column.metric} is {value:g}")
        if column not in self._columns:
            if len(self._columns) == _MAX_COLUMNS:
                raise ValueError(f"more than {_MAX_COLUMNS} kinds of results, by seed and epochs")
            dtype = np.float64 if column.metric == "params" else np.float32
            self._columns[column] = np.full(self._rows, np.nan, dtype)
        self._columns[column][row] = value


def _last(values: Any, key: str) -> float | None:
    """Returns an evaluation after the last epoch; None where it was not made."""
    return float(values[key]) if key in values else None


def _agreed(sizes: Mapping[int, float]) -> float:
    if len({f"{size:.5f}" for size in sizes.values()}) > 1 and _TRUSTED_SEED in sizes:
        return sizes[_TRUSTED_SEED]
    return sum(sizes.values()) / len(sizes)


def _seconds(runs: Mapping[int, Mapping[str, Any]], epochs: int) -> Iterator[tuple[str, float]]:
    """Yields mean seconds of training, and with validation every epoch and once."""
    timed = [run for run in runs.values() if run["train_times"]]
    if not timed:
        return
    train = [sum(float(run["train_times"][i]) for i in range(epochs)) for run in timed]
    yield "train_seconds", sum(train) / len(train)
    passes = [_validation_pass(run, epochs) for run in timed]
    if all(seconds is not None for seconds in passes):
        both = [(t, p) for t, p in zip(train, passes, strict=True) if p is not None]
        yield "trainval_seconds", sum(t + epochs * p for t, p in both) / len(both)
        yield "trainval_once_seconds", sum(t + p for t, p in both) / len(both)


def _validation_pass(run: Mapping[str, Any], epochs: int) -> float | None:
    """Returns the mean seconds of a pass over the validation images."""
    times = run["eval_times"] or {}
    known = [float(times[key]) for i in range(epochs) if (key := f"x-valid@{i}") in times]
    return sum(known) / len(known) if known else None
