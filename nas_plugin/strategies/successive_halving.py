"""Successive halving: one in eta is promoted."""

from __future__ import annotations

from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._multi_fidelity import MultiFidelity


class SuccessiveHalving(MultiFidelity, name="successive_halving"):
    """Begins with `width` random architectures and keeps the best at each fidelity.

    When a bracket is full the next one begins, until the budget ends.

    Args:
        space: The search space.
        width: Architectures at the lowest fidelity; None is as many as leave one at the highest.
        **options: See `MultiFidelity` and `Strategy`.

    References:
        Jamieson & Talwalkar 2016, https://arxiv.org/abs/1502.07943
    """

    def __init__(self, space: SearchSpace, *, width: int | None = None, **options: Any) -> None:
        super().__init__(space, **options)
        if width is not None and width < 1:
            raise OptionError(f"width must be at least 1, got {width}.")
        self.width = width or round(self.eta ** (len(self.fidelities) - 1))

    def shape(self, number: int) -> list[tuple[float, int]]:
        return self.halvings(0, self.width)

    def suggest(self) -> Architecture:
        return self.random_architecture()
