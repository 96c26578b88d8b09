"""Metrics: those of classifiers, and what a trainer asks of any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nas_plugin.errors import OptionError

Metrics = Callable[[Any, Any], Mapping[str, Tensor | float]]


def accuracy(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Returns ``{"accuracy": fraction}`` of logits ``(N, classes)`` and classes ``(N,)``."""
    return {"accuracy": (output.argmax(dim=1) == target).double().mean()}


def monitored(values: Mapping[str, Any], monitor: str) -> Any:
    """Returns the metric of that name, of which more is better.

    Raises:
        OptionError: If there is none, or it is the loss.
    """
    named = sorted(set(values) - {"loss"})
    if monitor not in named:
        raise OptionError(
            f"monitor='{monitor}' is not a metric of which more is better; metrics gives {named}."
        )
    return values[monitor]


def checked_metrics(metrics: Metrics) -> Metrics:
    """Returns `metrics` such that it raises OptionError unless it gives named single numbers."""

    def checked(output: Any, target: Any) -> Mapping[str, Tensor | float]:
        values = metrics(output, target)
        if not isinstance(values, Mapping):
            raise OptionError(f"metrics must return a dict from names to numbers, got {values!r}.")
        if "loss" in values:
            raise OptionError(
                "metrics returned the name 'loss', which is the loss itself in every record. "
                "Give it another name."
            )
        for name, value in values.items():
            if isinstance(value, Tensor) and value.numel() != 1:
                raise OptionError(
                    f"The metric '{name}' has the shape {tuple(value.shape)}; a metric is a single "
                    "number. Give its parts names of their own."
                )
        return {k: v.reshape(()) if isinstance(v, Tensor) else v for k, v in values.items()}

    return checked
