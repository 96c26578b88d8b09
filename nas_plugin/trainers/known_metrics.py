"""Metrics that are known by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nas_plugin.errors import OptionError


def accuracy(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Returns ``{"accuracy": fraction}`` of logits ``(N, classes)`` and classes ``(N,)``.

    Targets may be probabilities ``(N, classes)``, of which the largest is the class.
    """
    return {"accuracy": (output.argmax(dim=1) == _classes(output, target)).double().mean()}


def top5(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Returns ``{"top5": fraction}``: the class is among the five largest logits."""
    best = output.topk(min(5, output.shape[1]), dim=1).indices
    return {"top5": (best == _classes(output, target).unsqueeze(1)).any(dim=1).double().mean()}


def mae(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Returns ``{"mae": mean absolute error}``."""
    return {"mae": _difference(output, target).abs().mean()}


def mse(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Returns ``{"mse": mean squared error}``."""
    return {"mse": _difference(output, target).square().mean()}


class RootMeanSquaredError:
    """The root of the mean squared error over a whole set."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._total, self._n = 0.0, 0

    def update(self, output: Tensor, target: Tensor) -> None:
        squares = _difference(output, target).square()
        self._total += float(squares.sum())
        self._n += squares.numel()

    def compute(self) -> float:
        return float((self._total / self._n) ** 0.5) if self._n else float("nan")


class R2:
    """The coefficient of determination over a whole set, the mean over several outputs.

    An output whose target never changes has 1 if it is met exactly, otherwise 0.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._n = 0
        self._residual = self._mean = self._spread = torch.zeros(())

    def update(self, output: Tensor, target: Tensor) -> None:
        residual = _difference(output, target)
        rows = len(target)
        target = target.detach().double().reshape(rows, -1).cpu()
        residual = residual.reshape(rows, -1).cpu()
        mean = target.mean(0)
        # Spreads around the parts' own means are joined, so that nothing large is subtracted.
        gap, n = mean - self._mean, self._n + rows
        self._spread = (
            self._spread + (target - mean).square().sum(0) + gap.square() * (self._n * rows / n)
        )
        self._mean = self._mean + gap * (rows / n)
        self._residual = self._residual + residual.square().sum(0)
        self._n = n

    def compute(self) -> float:
        if self._n == 0:
            return float("nan")
        constant = self._spread == 0
        share = self._residual / torch.where(constant, 1.0, self._spread)
        flat = (self._residual == 0).double()
        return float(torch.where(constant, flat, 1 - share).mean())


class MacroF1:
    """The F1 score over a whole set, the mean over the classes that occur or are predicted."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._counts = torch.zeros(3, 0)

    def update(self, output: Tensor, target: Tensor) -> None:
        target = _classes(output, target)
        classes, found = output.shape[1], output.argmax(dim=1)
        parts = (found[found == target], found, target)  # right, predicted, true
        counts = torch.stack([torch.bincount(p.reshape(-1), minlength=classes) for p in parts])
        counts = counts.double().cpu()
        self._counts = counts if self._counts.numel() == 0 else self._counts + counts

    def compute(self) -> float:
        right, predicted, true = self._counts
        occurs = predicted + true > 0
        scores = 2 * right[occurs] / (predicted + true)[occurs]
        return float(scores.mean())


#: How each is made. What is no mean over samples is an object of its own for every trainer.
KNOWN: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: accuracy,
    "top5": lambda: top5,
    "mae": lambda: mae,
    "mse": lambda: mse,
    "rmse": RootMeanSquaredError,
    "r2": R2,
    "f1": MacroF1,
}


def _classes(output: Tensor, target: Tensor) -> Tensor:
    """Returns one class per sample, the largest of probabilities: no silent broadcast."""
    shape = tuple(output.shape)
    several = len(shape) > 1 and shape[1] > 1
    if several and target.shape == output.shape and target.is_floating_point():
        return target.argmax(dim=1)
    if len(shape) < 2 or target.shape != (shape[0], *shape[2:]):
        raise OptionError(
            f"The output has the shape {shape}, the target {tuple(target.shape)}; a metric of "
            "classes compares logits (N, classes) with classes (N,), or with probabilities "
            "(N, classes). For one output per sample, as in regression or with a binary loss, give "
            "a metric of your own or one of numbers, such as mae."
        )
    return target


def _difference(output: Tensor, target: Tensor) -> Tensor:
    """Returns output minus target in float64, which must be of one shape: no silent broadcast."""
    if output.shape == (*target.shape, 1):
        output = output.squeeze(-1)
    if output.shape != target.shape:
        raise OptionError(
            f"The output has the shape {tuple(output.shape)}, the target {tuple(target.shape)}; a "
            "metric of numbers compares equal shapes."
        )
    return output.detach().double() - target.double()
