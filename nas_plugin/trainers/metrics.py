"""Metrics of classifiers."""

from __future__ import annotations

from torch import Tensor


def accuracy(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Returns ``{"accuracy": fraction}`` of logits ``(N, classes)`` and classes ``(N,)``."""
    return {"accuracy": (output.argmax(dim=1) == target).double().mean()}
