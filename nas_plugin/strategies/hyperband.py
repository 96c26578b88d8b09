"""Hyperband: successive halving that begins cheaply, then more and more thoroughly."""

from __future__ import annotations

import math

from nas_plugin.space.architecture import Architecture
from nas_plugin.strategies._multi_fidelity import MultiFidelity


class Hyperband(MultiFidelity, name="hyperband"):
    """Cycles through brackets that begin at each of the fidelities, the lowest first.

    Bracket s of S + 1 = ``len(fidelities)`` begins with ceil((S + 1) / (s + 1) * eta^s)
    architectures.

    References:
        Li et al. 2018, https://arxiv.org/abs/1603.06560
    """

    def shape(self, number: int) -> list[tuple[float, int]]:
        levels = len(self.fidelities)
        s = levels - 1 - number % levels
        size = math.ceil(levels / (s + 1) * self.eta**s - 1e-9)
        return self.halvings(levels - 1 - s, size)

    def suggest(self) -> Architecture:
        return self.random_architecture()
