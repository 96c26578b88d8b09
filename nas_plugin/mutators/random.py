"""Random search: the baseline that every method is compared with."""

from __future__ import annotations

from random import Random

import torch

from nas_plugin.choice.decision import Decision
from nas_plugin.mutators.mutator import PATHS, Mutator
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.decide import decisions_of


class RandomMutator(Mutator, name="random"):
    """Draws one architecture a step, each active choice uniformly; only it runs.

    `export` draws as well: it is the architecture of a random search of size one.
    """

    gives = frozenset({PATHS})
    sparse = True

    def sample_search(self) -> dict[str, Decision]:
        return decisions_of(self.space, self._draw())

    def export(self) -> Architecture:
        return self._draw()

    def status(self) -> dict[str, dict[str, float]]:
        return {
            key: {
                str(c): (0.0 if c in choice.excluded else 1.0 / len(choice.options))
                for c in choice.candidates
            }
            for key, choice in self.space.items()
            if not self.space.follows_edges(choice)
        }

    def _draw(self) -> Architecture:
        return self.space.sample_per_choice(self._rng())

    def _rng(self) -> Random:
        # Python's generator draws single numbers far faster; torch's makes it resumable.
        return Random(int(torch.randint(2**62, (), generator=self.generator)))
