"""The base of strategies that predict results and propose what looks best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.neighbours import mutate
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._encoding import Encode, Vector, make_encoding
from nas_plugin.strategies.proposal import Trial, by_value
from nas_plugin.strategies.strategy import Strategy


class PredictorStrategy(Strategy):
    """Fits a predictor to all results and proposes the best of a pool, a few at a time.

    Half of the pool is drawn uniformly; the other half are the best results with one choice
    changed, or several. Results enter as normal scores of their ranks, since a few broken
    architectures would otherwise stretch the scale.

    Args:
        space: The search space.
        startup: Random architectures (warm starts count) before the first fit.
        batch: Proposals from one fit.
        pool: Architectures that are predicted at a time.
        parents: How many of the best results are varied.
        encoding: ``one_hot``, ``path``, ``one_hot+path``, or a function from an architecture to a
            vector.
        **options: See `Strategy`.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        startup: int = 10,
        batch: int = 1,
        pool: int = 200,
        parents: int = 5,
        encoding: str | Encode = "one_hot",
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if startup < 2 or batch < 1 or pool < batch or parents < 1:
            raise OptionError(
                f"{self.name} needs startup >= 2, batch >= 1, pool >= batch and parents >= 1, got "
                f"{startup}, {batch}, {pool} and {parents}."
            )
        self.startup, self.batch, self.pool, self.parents = startup, batch, pool, parents
        self._encode = make_encoding(encoding, space)
        self._vectors: dict[Architecture, Vector] = {}
        self._queue: list[Architecture] = []

    @abstractmethod
    def rate(self, known: Vector, targets: Vector, pool: Vector) -> Vector:
        """Returns how promising each of a pool is.

        Args:
            known: Encoded results, (N, D).
            targets: Their standardised values, (N,); more is better.
            pool: Encoded candidates, (M, D).

        Returns:
            One number a candidate, (M,).
        """

    def suggest(self) -> Architecture:
        if len(self.results) < self.startup:
            return self.space.sample(self.rng)
        if not self._queue:
            pool = self._draw_pool()
            if not pool:
                return self.space.sample(self.rng)
            values = np.array([by_value(trial) for trial in self.results])
            known = self._encoded([trial.architecture for trial in self.results])
            rated = self.rate(known, normal_scores(values), self._encoded(pool))
            order = np.argsort(-rated, kind="stable")[: self.batch]
            self._queue = [pool[i] for i in reversed(order)]
        return self._queue.pop()

    def numpy_rng(self) -> np.random.Generator:
        """Returns a generator of numpy that is drawn from the strategy's own."""
        return np.random.default_rng(self.rng.getrandbits(64))

    def state(self) -> dict[str, Any]:
        return {"queue": [architecture.to_json() for architecture in self._queue]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._queue = [self.space.architecture(spelled) for spelled in state["queue"]]

    def _draw_pool(self) -> list[Architecture]:
        """Draws legal architectures that were not proposed, each once."""
        best: list[Trial] = sorted(self.results, key=by_value, reverse=True)[: self.parents]
        pool: dict[Architecture, None] = {}
        for i in range(self.pool):
            if i % 2:
                architecture = self.space.sample(self.rng)
            else:
                architecture = best[self.rng.randrange(len(best))].architecture
                architecture = mutate(self.space, architecture, self.rng)
                while self.rng.random() < 0.5:
                    architecture = mutate(self.space, architecture, self.rng)
            if not self.is_barred(architecture) and self.allows(architecture):
                pool[architecture] = None
        return list(pool)

    def _encoded(self, architectures: list[Architecture]) -> Vector:
        for architecture in architectures:
            if architecture not in self._vectors:
                self._vectors[architecture] = np.asarray(self._encode(architecture), np.float64)
        return np.stack([self._vectors[architecture] for architecture in architectures])


def normal_scores(values: Vector) -> Vector:
    """Returns the normal quantiles of the ranks of `values`; equal values share a rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    quantile = NormalDist().inv_cdf
    scores = np.array([quantile(float(m) / len(values)) for m in middle])
    ranked: Vector = scores[inverse]
    return ranked
