"""TPE: draw what good results have and others lack."""

from __future__ import annotations

from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._density import Densities
from nas_plugin.strategies.strategy import Strategy


class Tpe(Strategy, name="tpe"):
    """Tree-structured Parzen estimator over categorical choices.

    Args:
        space: The search space.
        startup: Random architectures before the first estimate.
        good: The share of results that counts as good (gamma).
        draws: Draws from the good density, of which the best ratio is proposed.
        prior: The weight of the uniform prior, in results.
        **options: See `Strategy`.

    References:
        Bergstra et al. 2011, https://papers.nips.cc/paper/4443
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        startup: int = 10,
        good: float = 0.25,
        draws: int = 24,
        prior: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if startup < 2 or not 0 < good < 1 or draws < 1 or not prior > 0:
            raise OptionError(
                "tpe needs startup >= 2, good in (0, 1), draws >= 1 and prior > 0, got "
                f"{startup}, {good}, {draws} and {prior}."
            )
        self.startup, self.draws = startup, draws
        self._densities = Densities(space, good=good, prior=prior)

    def suggest(self) -> Architecture:
        if len(self.results) < self.startup:
            return self.random_architecture()
        return self._densities.suggest(
            self.results, draws=self.draws, rng=self.rng, known=self.is_barred
        )
