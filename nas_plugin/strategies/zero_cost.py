"""Zero-cost search: rank by a score that needs no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.legal import Constraint, LegalDraws, Sampler, sampler_of
from nas_plugin.strategies.proposal import Exhausted
from nas_plugin.strategies.strategy import Strategy

Score = Callable[[Architecture], float]


class ZeroCost(Strategy, name="zero_cost"):
    """Draws a pool of architectures and proposes them from the highest score down.

    When the pool is used up, another is drawn.

    Args:
        space: The search space.
        score: Rates an architecture; more is better.
        pool: Architectures that are scored at a time.
        **options: See `Strategy`.

    References:
        Abdelfattah et al. 2021, https://arxiv.org/abs/2101.08134
    """

    def __init__(
        self, space: SearchSpace, *, score: Score, pool: int = 1000, **options: Any
    ) -> None:
        super().__init__(space, **options)
        if pool < 1:
            raise OptionError(f"pool must be at least 1, got {pool}.")
        self.score, self.pool = score, pool
        self._queue: list[Architecture] = []

    def suggest(self) -> Architecture:
        if not self._queue:
            drawn = _draw_pool(
                self.rng, self._legal, self.pool, set() if self.repeats else self._known
            )
            self._queue = sorted(drawn, key=self.score)
        return self._queue.pop()

    def state(self) -> dict[str, Any]:
        return {"queue": [architecture.to_json() for architecture in self._queue]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._queue = [self.space.architecture(spelled) for spelled in state["queue"]]


def best_by_score(
    space: SearchSpace,
    score: Score,
    n: int,
    *,
    seed: int = 0,
    pool: int = 1000,
    constraint: Constraint | None = None,
    sampling: str | Sampler = "uniform",
) -> list[Architecture]:
    """Returns the `n` best of a random pool, best first: the warm start of any strategy.

    Args:
        space: The search space.
        score: Rates an architecture; more is better.
        n: How many.
        seed: Seed of the pool.
        pool: How many architectures are scored.
        constraint: Says whether an architecture is legal; None allows all.
        sampling: How the pool is drawn; see `Strategy`.

    Raises:
        OptionError: If `n` or `pool` is not positive, or `n` is more than `pool`.
        StrategyError: If the constraint allows nothing.
    """
    if not 1 <= n <= pool:
        raise OptionError(f"n must be in [1, pool], got n={n} and pool={pool}.")
    legal = LegalDraws(space, constraint, sampler_of(space, sampling))
    drawn = _draw_pool(Random(seed), legal, pool, set())
    return sorted(drawn, key=score, reverse=True)[:n]


def _draw_pool(
    rng: Random, legal: LegalDraws, size: int, known: set[Architecture]
) -> list[Architecture]:
    """Draws legal architectures that are not in `known`, each once; fewer if no more are left."""
    taken = set(known)
    pool: list[Architecture] = []
    while len(pool) < size:
        try:
            architecture = legal.draw(lambda: legal.sample(rng), taken, rng)
        except Exhausted:
            if not pool:
                raise
            break
        taken.add(architecture)
        pool.append(architecture)
    return pool
