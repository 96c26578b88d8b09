"""A policy over choices: one softmax a choice, trained by Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._categorical import Categories

Rows = list[list[float]]

#: The least weight beside the likeliest value's: logarithms of probabilities stay finite.
_LEAST = 1e-30


class Policy:
    """Independent categorical distributions, one per choice.

    Plain lists: the tables are small, and numpy's cost a call would exceed the arithmetic.

    Args:
        space: The search space.
        rng: Draws the first logits.
        lr: Of Adam.
        init: The deviation of the first logits.
    """

    def __init__(self, space: SearchSpace, rng: Random, *, lr: float, init: float = 1e-3) -> None:
        self.categories = Categories(space)
        self.lr = lr
        self.logits: Rows = [
            [rng.gauss(0.0, init) for _ in values] for values in self.categories.values
        ]
        self._mean: Rows = self.zeros()
        self._square: Rows = self.zeros()
        self._steps = 0

    def zeros(self) -> Rows:
        """Returns a table of zeros, shaped as the logits."""
        return [[0.0] * len(values) for values in self.categories.values]

    def probabilities(self) -> Rows:
        """Returns the softmax of every row."""
        return [_softmax(row) for row in self.logits]

    def sample(self, rng: Random) -> Architecture:
        """Draws an architecture."""

        def pick(row: int) -> int:
            left = rng.random()
            weights = _softmax(self.logits[row])
            for column, weight in enumerate(weights):
                left -= weight
                if left < 0:
                    return column
            return len(weights) - 1

        return self.categories.build(pick)

    def log_prob(self, architecture: Architecture, probabilities: Rows) -> float:
        """Returns the log-probability of an architecture."""
        cells = self.categories.cells(architecture)
        return sum(math.log(probabilities[row][column]) for row, column in cells)

    def add_log_prob_gradient(
        self, gradient: Rows, architecture: Architecture, probabilities: Rows, scale: float
    ) -> None:
        """Adds ``scale`` times the gradient of the log-probability with respect to the logits."""
        for row, chosen in self.categories.cells(architecture):
            target = gradient[row]
            for column, p in enumerate(probabilities[row]):
                target[column] += scale * ((column == chosen) - p)

    def ascend(self, gradient: Rows) -> None:
        """Takes one step of Adam (betas 0.9, 0.999) up the gradient."""
        self._steps += 1
        fix_mean, fix_square = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for row, slopes in enumerate(gradient):
            logits, mean, square = self.logits[row], self._mean[row], self._square[row]
            for column, slope in enumerate(slopes):
                mean[column] = 0.9 * mean[column] + 0.1 * slope
                square[column] = 0.999 * square[column] + 0.001 * slope * slope
                size = math.sqrt(square[column] / fix_square) + 1e-8
                logits[column] += self.lr * mean[column] / fix_mean / size

    def state(self) -> dict[str, Any]:
        """Returns plain JSON; a copy."""
        return {
            "logits": [list(row) for row in self.logits],
            "mean": [list(row) for row in self._mean],
            "square": [list(row) for row in self._square],
            "steps": self._steps,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes what `state` returned."""
        self.logits = [list(row) for row in state["logits"]]
        self._mean = [list(row) for row in state["mean"]]
        self._square = [list(row) for row in state["square"]]
        self._steps = int(state["steps"])


def _softmax(row: list[float]) -> list[float]:
    top = max(row)
    weights = [max(math.exp(logit - top), _LEAST) for logit in row]
    total = sum(weights)
    return [weight / total for weight in weights]
