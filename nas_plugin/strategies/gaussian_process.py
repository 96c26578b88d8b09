"""Bayesian optimisation with a Gaussian process over encoded architectures."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas_plugin.errors import OptionError
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._encoding import Vector
from nas_plugin.strategies._predictor import PredictorStrategy, Rate

#: Length scales and noises that are tried, in units of the mean squared distance and of the
#: deviation of the targets; the likeliest pair is used.
_LENGTHS = (0.5, 1.0, 2.0, 4.0)
_NOISES = (0.01, 0.05, 0.2)


class GaussianProcess(PredictorStrategy, name="gaussian_process"):
    """Proposes what has the highest posterior mean plus `optimism` deviations.

    The kernel is the squared exponential of the encodings, which on one-hot vectors is an
    exponential of the Hamming distance. Its two parameters are those of the highest marginal
    likelihood on a small grid.

    Args:
        space: The search space.
        optimism: How many posterior deviations are added to the mean; 0 trusts the mean alone.
        **options: See `PredictorStrategy` and `Strategy`.

    References:
        Rasmussen & Williams 2006, http://gaussianprocess.org/gpml;
        Srinivas et al. 2010, https://arxiv.org/abs/0912.3995
    """

    def __init__(self, space: SearchSpace, *, optimism: float = 0.5, **options: Any) -> None:
        super().__init__(space, **options)
        if optimism < 0:
            raise OptionError(f"optimism must be at least 0, got {optimism}.")
        self.optimism = optimism

    def fit(self, known: Vector, targets: Vector) -> Rate:
        deviation = float(targets.std()) or 1.0
        y = targets / deviation
        distances = squared_distances(known, known)
        scale = float(distances.mean()) or 1.0
        length, noise = likeliest(distances / scale, y)
        covariance = np.exp(-distances / (scale * length)) + noise * np.eye(len(y))
        inverse = np.linalg.inv(covariance)
        weights = inverse @ y

        def rate(candidates: Vector) -> Vector:
            cross = np.exp(-squared_distances(candidates, known) / (scale * length))
            mean = cross @ weights
            sd = np.sqrt(np.maximum(1.0 - ((cross @ inverse) * cross).sum(1), 1e-12))
            rated: Vector = mean + self.optimism * sd
            return rated

        return rate


def squared_distances(a: Vector, b: Vector) -> Vector:
    """Returns the squared distances of all rows of `a` to all rows of `b`."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :]
    distances: Vector = np.maximum(squares - 2.0 * a @ b.T, 0.0)
    return distances


def likeliest(distances: Vector, y: Vector) -> tuple[float, float]:
    """Returns the length scale and noise of the highest marginal likelihood on the grid."""
    best = (-np.inf, _LENGTHS[0], _NOISES[0])
    for length in _LENGTHS:
        # One eigendecomposition serves all noises: K + nI has the eigenvalues of K plus n.
        values, vectors = np.linalg.eigh(np.exp(-distances / length))
        projected = (vectors.T @ y) ** 2
        for noise in _NOISES:
            shifted = np.maximum(values, 0.0) + noise
            likelihood = -0.5 * float((projected / shifted + np.log(shifted)).sum())
            best = max(best, (likelihood, length, noise))
    return best[1], best[2]
