"""Random search, the strategy to beat."""

from __future__ import annotations

from nas_plugin.space.architecture import Architecture
from nas_plugin.strategies.strategy import Strategy


class RandomSearch(Strategy, name="random"):
    """Draws architectures, all equally likely; none twice unless ``repeats=True``."""

    def suggest(self) -> Architecture:
        return self.random_architecture()
