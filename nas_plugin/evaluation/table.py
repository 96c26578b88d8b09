"""Evaluation by looking up a tabular benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nas_plugin.benchmarks.benchmark import Benchmark
from nas_plugin.errors import BenchmarkError, OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.strategies.proposal import Outcome, Proposal

Signal = tuple[Any, Any]


class TableEvaluator:
    """Answers with validation results and their simulated cost; test results are out of reach.

    Args:
        benchmark: The table.
        dataset: The data set; None is the benchmark's first.
        epochs: The schedule of proposals without a fidelity; None is the longest.
        seed: The run; None is the mean.
        metric: What is reported as ``default``.
        cost: The metric that is reported as seconds; None is `Benchmark.cost_column`.
        extra: Further metrics that are reported by their name (``params``, a latency).

    Raises:
        BenchmarkError: If the benchmark does not hold the signal.
        OptionError: If an extra metric is called ``default``.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        metric: str = "accuracy",
        cost: str | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        if "default" in extra:
            raise OptionError("An extra metric cannot be called 'default', which is the signal.")
        self._benchmark, self._dataset, self._seed = benchmark, dataset, seed
        self._metric, self._epochs, self._extra = metric, epochs, tuple(extra)
        self._cost = cost
        self._signals: dict[int | None, Signal] = {}
        self._extra_columns = {
            name: benchmark.column(metric=name, dataset=dataset, epochs=epochs) for name in extra
        }
        self._signal(epochs)

    def evaluate(self, proposal: Proposal) -> Outcome:
        """Looks a proposal up; its fidelity is a number of epochs."""
        epochs = self._epochs if proposal.fidelity is None else _whole(proposal.fidelity)
        values, costs = self._signals.get(epochs) or self._signal(epochs)
        row = self._benchmark.index(proposal.architecture)
        value = values.item(row)
        seconds = None if costs is None else float(costs.item(row))
        if math.isnan(value):
            return Outcome(failure="the table has no such run", seconds=seconds)
        metrics = {"default": value}
        for name, column in self._extra_columns.items():
            metrics[name] = float(column.item(row))
        return Outcome(metrics, seconds=seconds)

    def _signal(self, epochs: int | None) -> Signal:
        asked: dict[str, Any] = {"dataset": self._dataset, "epochs": epochs}
        values = self._benchmark.column(
            **asked, split="valid", metric=self._metric, seed=self._seed
        )
        if self._cost is not None:
            costs = self._benchmark.column(**asked, metric=self._cost)
        else:
            try:
                costs = self._benchmark.cost_column(**asked)
            except BenchmarkError:
                costs = None  # a budget in simulated seconds will say that there are none
        self._signals[epochs] = values, costs
        return values, costs


def table_score(
    benchmark: Benchmark, metric: str, *, dataset: str | None = None
) -> Callable[[Architecture], float]:
    """Returns a zero-cost score of the table (``zc_naswot``) as a function of architectures.

    Where the table lacks the score, it is minus infinity: the last to be chosen.

    Raises:
        OptionError: If `metric` is not a zero-cost score.
        BenchmarkError: If the table does not hold it.
    """
    if not metric.startswith("zc_"):
        raise OptionError(f"A zero-cost score of a table is called 'zc_…', got '{metric}'.")
    column = benchmark.column(metric=metric, dataset=dataset)

    def score(architecture: Architecture) -> float:
        value = float(column.item(benchmark.index(architecture)))
        return -math.inf if math.isnan(value) else value

    return score


def _whole(fidelity: float) -> int:
    if fidelity != int(fidelity):
        raise BenchmarkError(f"A table's fidelity is a whole number of epochs, not {fidelity}.")
    return int(fidelity)
