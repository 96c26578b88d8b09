"""An ensemble of small networks in numpy, all trained at once."""

from __future__ import annotations

import numpy as np

from nas_plugin.strategies._encoding import Vector


class Ensemble:
    """Fully connected networks that differ in their first weights.

    Args:
        inputs: The length D of an encoding.
        members: The number E of networks.
        rng: Draws the first weights.
        hidden: Units of each of the two hidden layers (rectified).
        lr: Of Adam, full batch.
        decay: The weight of the squared weights in the loss.
    """

    def __init__(
        self,
        inputs: int,
        *,
        members: int,
        rng: np.random.Generator,
        hidden: int = 20,
        lr: float = 0.02,
        decay: float = 1e-4,
    ) -> None:
        sizes = ((inputs, hidden), (hidden, hidden), (hidden, 1))
        self._weights: list[Vector] = [
            rng.standard_normal((members, *size)) * np.sqrt(2.0 / size[0]) for size in sizes
        ]
        self._biases: list[Vector] = [np.zeros((members, 1, size[1])) for size in sizes]
        self._lr, self._decay = lr, decay

    def predict(self, x: Vector) -> Vector:
        """Predicts ``x`` (N, D) with every member, (E, N)."""
        return self._forward(x)[-1][:, :, 0]

    def fit(self, x: Vector, y: Vector, *, steps: int) -> None:
        """Minimises the squared error on ``x`` (N, D) and ``y`` (N,)."""
        parameters = [*self._weights, *self._biases]
        means = [np.zeros_like(p) for p in parameters]
        squares = [np.zeros_like(p) for p in parameters]
        for step in range(1, steps + 1):
            rate = self._lr * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for p, g, m, s in zip(parameters, self.gradients(x, y), means, squares, strict=True):
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                p -= rate * m / (np.sqrt(s) + 1e-8)

    def loss(self, x: Vector, y: Vector) -> float:
        """Returns what `fit` minimises, summed over the members."""
        error = float(((self.predict(x) - y) ** 2).mean(1).sum())
        return error + self._decay * sum(float((w * w).sum()) for w in self._weights)

    def gradients(self, x: Vector, y: Vector) -> list[Vector]:
        """Returns the gradients of the loss: of the weights, then of the biases."""
        layers = self._forward(x)
        slope = 2.0 / len(y) * (layers[-1] - y[None, :, None])  # (E, N, 1)
        weights: list[Vector] = []
        biases: list[Vector] = []
        for i in (2, 1, 0):
            weights.insert(
                0, layers[i].swapaxes(-1, -2) @ slope + 2 * self._decay * self._weights[i]
            )
            biases.insert(0, slope.sum(1, keepdims=True))
            if i:
                slope = (slope @ self._weights[i].swapaxes(-1, -2)) * (layers[i] > 0)
        return weights + biases

    def _forward(self, x: Vector) -> list[Vector]:
        """Returns the input and the output of every layer."""
        layers: list[Vector] = [x]
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            out = layers[-1] @ weight + bias
            layers.append(out if i == 2 else np.maximum(out, 0.0))
        return layers
