"""A block that is repeated a searched number of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.choice.isolate import isolated
from nas_plugin.errors import ChoiceError


class Repeat(ChoiceBlock):
    """Runs the first d of `high` blocks, where d is chosen from low … high.

    A mix over depths gives the weighted sum of what the network gives at each depth, so that depth
    can be searched by a differentiable mutator as well.

    Args:
        block_factory: Position (0-based) → the block at that position.
        depth: The smallest and the largest number of blocks, ``(low, high)``, both included.
        key: Blocks with equal keys share one decision; the module's path if None.

    Shape:
        - Input, output: what the blocks map to itself; all depths give one shape
        - ``Decision.mix``: ``(high - low + 1,)``, ascending depth

    Raises:
        ChoiceError: If the depths are not ``0 <= low < high``.
    """

    kind = "repeat"

    def __init__(
        self,
        block_factory: Callable[[int], nn.Module],
        depth: tuple[int, int],
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        if not isinstance(depth, (list, tuple)) or [type(d) for d in depth] != [int, int]:
            raise ChoiceError(f"{self.label}: depth is a pair of whole numbers, got {depth!r}.")
        low, high = depth
        if not 0 <= low < high:
            raise ChoiceError(f"{self.label}: depth must be 0 <= low < high, got {depth}.")
        self.depths = tuple(range(low, high + 1))
        for position in range(high):
            block = block_factory(position)
            if not isinstance(block, nn.Module):
                raise ChoiceError(
                    f"{self.label}: block_factory({position}) must give a torch module, "
                    f"got {block!r}."
                )
            self.add_module(str(position), block)

    @property
    def candidates(self) -> tuple[int, ...]:
        return self.depths

    def chosen_for(self, child: str) -> tuple[str | int, ...]:
        return tuple(depth for depth in self.depths if depth > int(child))

    def forward(self, x: Tensor) -> Any:
        decision = self.decision()
        wanted = {self.depths[i]: i for i in decision.active}
        out: Tensor | None = None
        for depth in range(max(wanted) + 1):
            if depth > 0:
                block = self.get_submodule(str(depth - 1))
                # What a depth gives is kept while the next block reads it.
                x = isolated(block, x) if depth - 1 in wanted else block(x)
            if depth in wanted:
                term = x if decision.mix is None else decision.mix[wanted[depth]] * x
                if out is not None and out.shape != term.shape:
                    raise ChoiceError(
                        f"{self.label} mixes depths of different shapes: "
                        f"{tuple(out.shape)} and {tuple(term.shape)} at depth {depth}. "
                        "Its blocks must keep the shape."
                    )
                out = term if out is None else out + term
        return out
