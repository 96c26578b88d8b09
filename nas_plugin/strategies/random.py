"""Random search, the strategy to beat."""

from __future__ import annotations

from nas_plugin.space.architecture import Architecture
from nas_plugin.strategies.strategy import Strategy


class RandomSearch(Strategy, name="random"):
    """Draws every active choice uniformly; nothing twice unless ``repeats=True``."""

    def suggest(self) -> Architecture:
        return self.space.sample(self.rng)
