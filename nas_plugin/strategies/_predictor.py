"""The base of strategies that predict results and propose what looks best."""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.neighbours import mutate, neighbours
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._encoding import Encode, Vector, make_encoding
from nas_plugin.strategies.proposal import by_rank, by_value
from nas_plugin.strategies.strategy import Strategy

Rate = Callable[[Vector], Vector]

#: Candidates whose neighbours are looked at in each round of climbing.
_CLIMBERS = 3


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
        climb: How often the neighbours of the best candidates join the pool.
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
        pool: int = 100,
        parents: int = 5,
        climb: int = 2,
        encoding: str | Encode = "one_hot",
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if startup < 2 or batch < 1 or pool < batch or parents < 1 or climb < 0:
            raise OptionError(
                f"{self.name} needs startup >= 2, batch >= 1, pool >= batch, parents >= 1 and "
                f"climb >= 0, got {startup}, {batch}, {pool}, {parents} and {climb}."
            )
        self.startup, self.batch, self.pool = startup, batch, pool
        self.parents, self.climb = parents, climb
        self._encode = make_encoding(encoding, space)
        self._vectors: dict[Architecture, Vector] = {}
        self._queue: list[Architecture] = []

    @abstractmethod
    def fit(self, known: Vector, targets: Vector) -> Rate:
        """Learns from results and returns a function that rates candidates.

        Args:
            known: Encoded results, (N, D).
            targets: Their standardised values, (N,); more is better.

        Returns:
            From encoded candidates (M, D) to how promising each is, (M,).
        """

    def suggest(self) -> Architecture:
        if len(self.results) < self.startup:
            return self.random_architecture()
        if not self._queue:
            values = np.array([by_value(trial) for trial in self.results])
            known = self._encoded([trial.architecture for trial in self.results])
            rated = self._rated_pool(self.fit(known, normal_scores(values)))
            if not rated:
                return self.random_architecture()
            self._queue = heapq.nlargest(self.batch, rated, key=rated.__getitem__)[::-1]
        return self._queue.pop()

    def numpy_rng(self) -> np.random.Generator:
        """Returns a generator of numpy that is drawn from the strategy's own."""
        return np.random.default_rng(self.rng.getrandbits(64))

    def state(self) -> dict[str, Any]:
        return {"queue": [architecture.to_json() for architecture in self._queue]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._queue = [self.space.architecture(spelled) for spelled in state["queue"]]

    def _rated_pool(self, rate: Rate) -> dict[Architecture, float]:
        """Draws candidates, climbs from the best of them, and returns all with their ratings."""
        rated: dict[Architecture, float] = {}

        def add(candidates: Iterable[Architecture]) -> None:
            new = [a for a in dict.fromkeys(candidates) if a not in rated and self._may(a)]
            if new:
                rated.update(zip(new, rate(self._encoded(new)).tolist(), strict=True))

        add(self._draws())
        climbed: set[Architecture] = set()
        for _ in range(self.climb):
            best = heapq.nlargest(_CLIMBERS, rated, key=rated.__getitem__)
            starts = [a for a in best if a not in climbed]
            climbed.update(starts)
            add(n for a in starts for n in neighbours(self.space, a, self.rng))
        return rated

    def _may(self, architecture: Architecture) -> bool:
        return not self.is_barred(architecture) and self.allows(architecture)

    def _draws(self) -> Iterator[Architecture]:
        """Draws uniformly and around the best results, in turn."""
        best = heapq.nlargest(self.parents, self.results, key=by_rank)
        for i in range(self.pool):
            if i % 2:
                yield self.random_architecture()
                continue
            parent = best[self.rng.randrange(len(best))].architecture
            child = mutate(self.space, parent, self.rng)
            while self.rng.random() < 0.5:
                child = mutate(self.space, child, self.rng)
            yield child

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
