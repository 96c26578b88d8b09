"""What a trainer takes as metrics: functions of a batch, objects over a whole set, names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from nas_plugin.errors import OptionError
from nas_plugin.trainers.known_metrics import KNOWN, accuracy

Measured = Mapping[str, Tensor | float]


@runtime_checkable
class WholeSetMetric(Protocol):
    """A metric that is no mean over samples, as those of torchmetrics are."""

    def update(self, output: Any, target: Any) -> Any:
        """Takes a batch in."""

    def compute(self) -> Any:
        """Returns a number, or a dict of them, over everything since the last reset."""

    def reset(self) -> Any:
        """Forgets all batches."""


Function = Callable[[Any, Any], Any]
Metrics = Function | WholeSetMetric | str | Iterable[str] | Mapping[str, Any]


class MetricSet:
    """The metrics of a trainer.

    Args:
        metrics: A function ``(output, target) -> {name: number}``, whose numbers are means over the
            batch; an object with ``update(output, target)``, ``compute()`` and ``reset()``, which
            is measured on the whole of a set; a name of a known metric or several of them; or a
            dict from names to functions that return a number, to objects, or to names.

    Attributes:
        whole: The objects, by name; they are measured on held-out sets alone.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._functions: dict[str | None, Function] = {}
        self.whole: dict[str, WholeSetMetric] = {}
        if isinstance(metrics, str):
            metrics = [metrics]
        if isinstance(metrics, WholeSetMetric) or callable(metrics):
            self._add(None, metrics)
        elif isinstance(metrics, Mapping):
            for name, metric in metrics.items():
                self._add(str(name), metric)
        elif isinstance(metrics, Iterable):
            for name in metrics:
                self._add(name, name)
        else:
            raise OptionError(
                f"metrics is {metrics!r}; it must be a function of output and target, an object "
                "with update, compute and reset, names of known metrics, or a dict of these."
            )

    def _add(self, name: str | None, metric: Any) -> None:
        if isinstance(metric, str):
            if metric not in KNOWN:
                raise OptionError(
                    f"Unknown metric '{metric}'; known by name are {', '.join(sorted(KNOWN))}. "
                    "Or give a function, or an object with update, compute and reset."
                )
            metric = KNOWN[metric]()
        if name == "loss":
            raise _named_loss()
        if isinstance(metric, WholeSetMetric):
            self.whole[name or _name_of(metric)] = metric
        elif callable(metric):
            self._functions[name] = metric
        else:
            raise OptionError(
                f"The metric '{name}' is {metric!r}; it must be a function of output and target, "
                "an object with update, compute and reset, or the name of a known metric."
            )

    def __call__(self, output: Any, target: Any) -> Measured:
        """Returns the means over a batch, of those metrics that are means.

        Raises:
            OptionError: Unless they are named single numbers.
        """
        values: dict[str, Tensor | float] = {}
        for name, function in self._functions.items():
            found = function(output, target)
            if name is not None:
                only = isinstance(found, Mapping) and len(found) == 1
                found = {name: next(iter(found.values())) if only else found}
            values.update(_checked(found))
        return values

    def reset(self, device: Any = None) -> None:
        """Begins a measurement, on a device."""
        for metric in self.whole.values():
            if device is not None and hasattr(metric, "to"):
                metric.to(device)
            metric.reset()

    def update(self, output: Any, target: Any) -> None:
        """Takes a batch into the metrics of the whole set."""
        for metric in self.whole.values():
            metric.update(output, target)

    def compute(self) -> dict[str, float]:
        """Returns the metrics of the whole set, and forgets it."""
        values: dict[str, float] = {}
        for name, metric in self.whole.items():
            found = metric.compute()
            named = found if isinstance(found, Mapping) else {name: found}
            values.update({k: float(v) for k, v in _checked(named).items()})
            metric.reset()
        return values


def _checked(values: Any) -> Measured:
    if not isinstance(values, Mapping):
        raise OptionError(f"metrics must return a dict from names to numbers, got {values!r}.")
    if "loss" in values:
        raise _named_loss()
    for name, value in values.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise OptionError(
                f"The metric '{name}' has the shape {tuple(value.shape)}; a metric is a single "
                "number. Give its parts names of their own."
            )
    return {k: v.reshape(()) if isinstance(v, Tensor) else v for k, v in values.items()}


def _named_loss() -> OptionError:
    return OptionError(
        "metrics returned the name 'loss', which is the loss itself in every record. Give it "
        "another name."
    )


def _name_of(metric: WholeSetMetric) -> str:
    """Returns ``r2_score`` for an ``R2Score``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(metric).__name__).lower()


__all__ = ["MetricSet", "Metrics", "WholeSetMetric", "accuracy"]
