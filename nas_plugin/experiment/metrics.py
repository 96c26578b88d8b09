"""What a trial may report: finite numbers, one of them the default."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from nas_plugin.errors import ExperimentError

Reported = dict[str, float]

DEFAULT = "default"


class MetricError(ExperimentError):
    """A trial reported something that is not a finite number."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        #: ``not_a_number`` or ``invalid_result``.
        self.reason = reason


def parse_metrics(reported: Any) -> Reported:
    """Returns `reported` as numbers by name; a single number is the ``default``.

    Raises:
        MetricError: If a value is no number or not finite, or ``default`` is missing.
    """
    named = reported if isinstance(reported, Mapping) else {DEFAULT: reported}
    metrics: Reported = {}
    for name, value in named.items():
        if not isinstance(name, str):
            raise MetricError(f"Names of metrics must be strings, got {name!r}.", "invalid_result")
        metrics[name] = _number(name, value)
    if DEFAULT not in metrics:
        raise MetricError(
            f"The metrics lack '{DEFAULT}', the one that the search compares; found: "
            f"{', '.join(metrics) or 'none'}.",
            "invalid_result",
        )
    return metrics


def _number(name: str, value: Any) -> float:
    # 0-d arrays and tensors
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise MetricError(
            f"Metric '{name}' must be a number, got {type(value).__name__} {value!r:.80}. "
            "Report one number or a dict of numbers.",
            "invalid_result",
        )
    number = int(value) if isinstance(value, numbers.Integral) else float(value)
    if not math.isfinite(number):
        raise MetricError(
            f"Metric '{name}' is {number}. A trial that diverged has no result; let it fail or "
            "report the last finite value.",
            "not_a_number",
        )
    return number
