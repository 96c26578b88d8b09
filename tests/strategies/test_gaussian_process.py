"""The Gaussian process against multivariate normal densities."""

from __future__ import annotations

import numpy as np
from scipy.stats import multivariate_normal

from nas_plugin.strategies.gaussian_process import likeliest, squared_distances

GRID = [(length, noise) for length in (0.5, 1.0, 2.0, 4.0) for noise in (0.01, 0.05, 0.2)]


def test_the_likeliest_pair_maximises_the_density_of_the_targets() -> None:
    found = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((15, 3))
        distances = ((x[:, None] - x[None]) ** 2).sum(-1)
        distances /= distances.mean()
        length, noise = GRID[seed]
        covariance = np.exp(-distances / length) + noise * np.eye(15)
        y = rng.multivariate_normal(np.zeros(15), covariance)

        def density(pair: tuple[float, float]) -> float:
            tried = np.exp(-distances / pair[0]) + pair[1] * np.eye(15)  # noqa: B023
            return float(multivariate_normal.logpdf(y, cov=tried))  # noqa: B023

        assert likeliest(distances, y) == max(GRID, key=density)
        found.add(likeliest(distances, y))
    assert len(found) >= 4


def test_distances_are_those_of_all_pairs() -> None:
    a, b = np.arange(6.0).reshape(3, 2), np.array([[1.0, 4.0], [0.0, 1.0]])

    expected = [[((x - y) ** 2).sum() for y in b] for x in a]
    np.testing.assert_allclose(squared_distances(a, b), expected)
