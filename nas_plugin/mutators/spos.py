"""Single Path One-Shot: uniform paths, within a window of cost where one is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.mutators.random import RandomMutator
from nas_plugin.space.architecture import Architecture

_TRIES = 10_000


class SposMutator(RandomMutator, name="spos"):
    """Draws one path a step, each choice uniformly; a path outside the window is drawn again.

    `export` draws as well: which path is best, the second stage finds.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds all draws.
        cost: Architecture → its cost, such as a `CostTable` of FLOPs.
        window: The smallest and largest cost that are drawn, both included.

    Raises:
        OptionError: If one of `cost` and `window` is given without the other.
        SpaceError: When no path in the window is found.

    References:
        Guo et al. 2019, https://arxiv.org/abs/1904.00420
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        cost: Callable[[Mapping[str, Any]], float] | None = None,
        window: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(model, seed=seed)
        if (cost is None) != (window is None):
            raise OptionError("cost and window belong together: give both or neither.")
        if window is not None and not window[0] <= window[1]:
            raise OptionError(f"window must be (smallest, largest), got {window}.")
        self.cost, self.window = cost, window

    def _draw(self) -> Architecture:
        if self.cost is None or self.window is None:
            return super()._draw()
        low, high = self.window
        rng = self._rng()
        seen = []
        for _ in range(_TRIES):
            architecture = self.space.sample_per_choice(rng)
            seen.append(self.cost(architecture))
            if low <= seen[-1] <= high:
                return architecture
        raise SpaceError(
            f"None of {_TRIES} random paths costs between {low:g} and {high:g}; they cost "
            f"{min(seen):g} to {max(seen):g}. Widen the window."
        )
