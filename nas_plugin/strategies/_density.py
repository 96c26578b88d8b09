"""Densities of good and of other results, and what is likelier under the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._categorical import Categories
from nas_plugin.strategies.proposal import Trial, by_rank

_Weights = list[list[float]]


class Densities:
    """The two densities of the tree-structured Parzen estimator, over categorical choices.

    Each choice that is active has its own distribution: how often each value occurs among the
    results where the choice is active, plus a uniform prior of weight `prior`.

    Args:
        space: The search space.
        good: The share of results that counts as good.
        prior: The weight of the prior, in results.
    """

    def __init__(self, space: SearchSpace, *, good: float, prior: float) -> None:
        self._categories = Categories(space)
        self._good, self._prior = good, prior

    def suggest(
        self,
        results: Sequence[Trial],
        *,
        draws: int,
        rng: Random,
        known: Callable[[Architecture], bool],
    ) -> Architecture:
        """Draws from the density of good results, and returns the draw of the highest ratio.

        Args:
            results: What the densities are of.
            draws: How many draws are compared.
            rng: Draws.
            known: Says of an architecture that another is preferred to it, whatever the ratios.
        """
        ranked = sorted(results, key=by_rank, reverse=True)
        n_good = max(1, math.ceil(self._good * len(ranked)))
        good, other = self._fit(ranked[:n_good]), self._fit(ranked[n_good:])

        def draw() -> Architecture:
            return self._categories.build(
                lambda row: rng.choices(range(len(good[row])), weights=good[row])[0]
            )

        def ratio(architecture: Architecture) -> float:
            cells = self._categories.cells(architecture)
            return sum(math.log(good[row][col] / other[row][col]) for row, col in cells)

        drawn = [draw() for _ in range(draws)]
        return max([a for a in drawn if not known(a)] or drawn, key=ratio)

    def _fit(self, trials: Sequence[Trial]) -> _Weights:
        table = [[self._prior / len(v)] * len(v) for v in self._categories.values]
        for trial in trials:
            for row, column in self._categories.cells(trial.architecture):
                table[row][column] += 1.0
        return [[weight / sum(row) for weight in row] for row in table]
