"""BOHB: Hyperband whose new architectures come from a model."""

from __future__ import annotations

from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._density import Densities
from nas_plugin.strategies.hyperband import Hyperband


class Bohb(Hyperband, name="bohb"):
    """Draws from the densities of TPE on the highest fidelity with enough results.

    Differs from the paper in the densities, which are independent over choices here and there
    kernels over all of them.

    Args:
        space: The search space.
        random_share: The share of new architectures that stays random.
        startup: Results at one fidelity that are enough.
        good: The share of results that counts as good.
        draws: Draws from the good density, of which the best ratio is proposed.
        **options: See `MultiFidelity` and `Strategy`.

    References:
        Falkner et al. 2018, https://arxiv.org/abs/1807.01774
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        random_share: float = 1 / 3,
        startup: int = 8,
        good: float = 0.15,
        draws: int = 64,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if not 0 <= random_share <= 1 or startup < 2 or not 0 < good < 1 or draws < 1:
            raise OptionError(
                "bohb needs random_share in [0, 1], startup >= 2, good in (0, 1) and draws >= 1, "
                f"got {random_share}, {startup}, {good} and {draws}."
            )
        self.random_share, self.startup, self.draws = random_share, startup, draws
        self._densities = Densities(space, good=good, prior=1.0)

    def suggest(self) -> Architecture:
        if self.rng.random() < self.random_share:
            return self.random_architecture()
        for fidelity in reversed(self.fidelities):
            results = [t for t in self.results if t.proposal.fidelity == fidelity]
            if len(results) >= self.startup:
                return self._densities.suggest(
                    results, draws=self.draws, rng=self.rng, known=self.is_barred
                )
        return self.random_architecture()
