"""The metric that chooses: its name, and whether more of it is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_plugin.directions import Mode, direction
from nas_plugin.errors import OptionError
from nas_plugin.trainers.metrics import MetricSet


class Monitor:
    """Reads a metric and compares its values.

    Args:
        name: The metric, or ``loss``.
        mode: ``max`` if more is better, ``min`` if less is; None for a metric that says so itself
            (``higher_is_better``, torchmetrics' name) or whose name is known.
        metrics: The metrics of the trainer.

    Attributes:
        worst: What every value is better than.

    Raises:
        OptionError: If neither says which is better.
    """

    def __init__(self, name: str, mode: Mode | None, metrics: MetricSet) -> None:
        if mode not in ("max", "min", None):
            raise OptionError(f"mode must be 'max', 'min' or None, got {mode!r}.")
        own = getattr(metrics.whole.get(name), "higher_is_better", None)
        if mode is None and own is not None:
            mode = "max" if own else "min"
        mode = mode or direction(name)
        if mode is None:
            raise OptionError(
                f"monitor='{name}': whether more or less of it is better is not known. Give "
                "mode='max' or mode='min'."
            )
        self.name, self.mode = name, mode
        self._later = frozenset(metrics.whole)
        self.worst = float("-inf") if mode == "max" else float("inf")

    def __call__(self, values: Mapping[str, Any]) -> float:
        """Returns the value among those of a measurement.

        Raises:
            OptionError: If it is not there.
        """
        if self.name not in values:
            raise OptionError(
                f"monitor='{self.name}' is not among what is measured: {sorted(values)}. Let "
                "metrics give it, or name one of these."
            )
        return float(values[self.name])

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises OptionError unless a step's values, or the objects of the whole set, have it."""
        if not self._later:  # Objects may compute names of their own.
            self(values)

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is better than another; not a number never is."""
        return value > than if self.mode == "max" else value < than
