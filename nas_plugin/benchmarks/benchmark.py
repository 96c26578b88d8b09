"""The one interface of all benchmarks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from random import Random
from typing import Any

from nas_plugin.benchmarks.table import Array, Column
from nas_plugin.errors import ArchitectureError, BenchmarkError
from nas_plugin.registry import Registry
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace

#: The classes that read tables, by the kind that a table's header states.
benchmarks: Registry[type[Any]] = Registry("benchmark", package="nas_plugin.benchmarks")


class Benchmark(ABC):
    """Results of every architecture of a space.

    Accuracies are in percent. `dataset` None is the first of `datasets`; `epochs` None is the
    longest schedule that answers; `seed` None is the mean over the runs. What does not vary with
    a data set, schedule or split (parameters, a latency) answers for all of them.
    """

    name: str  #: Full name; the release is part of it.
    release: str  #: What was released, by whom.
    space: SearchSpace
    datasets: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of rows."""

    @abstractmethod
    def index(self, architecture: Any) -> int:
        """Returns the row of an architecture, given in any spelling that the benchmark knows.

        Raises:
            ArchitectureError: If it is no architecture of the space.
            BenchmarkError: If the table has no row for it.
        """

    @abstractmethod
    def architecture(self, index: int) -> Architecture:
        """Returns the architecture of a row.

        Raises:
            BenchmarkError: If there is no such row.
        """

    @abstractmethod
    def columns(self) -> list[Column]:
        """Lists what can be asked for."""

    @abstractmethod
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
        """Returns one value.

        Raises:
            ArchitectureError: If it is no architecture of the space.
            BenchmarkError: If the table does not hold what is asked for; the message says what
                it holds.
        """

    @abstractmethod
    def column(
        self,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        split: str = "valid",
        metric: str = "accuracy",
        seed: int | None = None,
    ) -> Array:
        """Returns the values of all rows, read-only; NaN where a run does not exist.

        Raises:
            BenchmarkError: If the table does not hold what is asked for.
        """

    @abstractmethod
    def cost_column(self, *, dataset: str | None = None, epochs: int | None = None) -> Array:
        """Returns the simulated seconds of training and validating, of all rows.

        Raises:
            BenchmarkError: If the table holds no times.
        """

    def cost(
        self, architecture: Any, *, dataset: str | None = None, epochs: int | None = None
    ) -> float:
        """Returns the simulated seconds of training and validating one architecture."""
        row = self.index(architecture)
        return float(self.cost_column(dataset=dataset, epochs=epochs).item(row))

    @abstractmethod
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
        """Returns the n best rows, best first."""

    def optimum(
        self,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        split: str = "test",
        metric: str = "accuracy",
    ) -> tuple[Architecture, float]:
        """Returns the best architecture and its value.

        Raises:
            BenchmarkError: If no row has a value.
        """
        best = self.top(1, dataset=dataset, epochs=epochs, split=split, metric=metric)
        if not best:
            raise BenchmarkError(f"{self.name} has no row with a value of '{metric}' ({split}).")
        return best[0]

    def sample(self, rng: Random) -> Architecture:
        """Draws the architecture of a row, all rows equally likely."""
        return self.architecture(rng.randrange(len(self)))

    def is_legal(self, architecture: Any) -> bool:
        """Says whether the table has a row for the architecture."""
        try:
            self.index(architecture)
        except (ArchitectureError, BenchmarkError):
            return False
        return True

    def validation(
        self, *, dataset: str | None = None, epochs: int | None = None, seed: int | None = None
    ) -> ValidationView:
        """Returns what a strategy may see: one validation signal and its cost."""
        return ValidationView(self, dataset=dataset, epochs=epochs, seed=seed)


class ValidationView:
    """The validation signal of a benchmark on one data set and schedule, and nothing of its test.

    Args:
        benchmark: The benchmark.
        dataset: The data set; None is the benchmark's first.
        epochs: The schedule; None is the longest.
        seed: The run; None is the mean.

    Raises:
        BenchmarkError: If the benchmark does not hold that signal.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.name, self.space = benchmark.name, benchmark.space
        self.index, self.is_legal = benchmark.index, benchmark.is_legal
        self.sample = benchmark.sample
        self._signal = benchmark.column(dataset=dataset, epochs=epochs, split="valid", seed=seed)
        self._read_cost = partial(benchmark.cost_column, dataset=dataset, epochs=epochs)

    def query(self, architecture: Any) -> float:
        """Returns the validation accuracy."""
        return float(self._signal.item(self.index(architecture)))

    def cost(self, architecture: Any) -> float:
        """Returns the simulated seconds of training and validation."""
        return float(self._read_cost().item(self.index(architecture)))
