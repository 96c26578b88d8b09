"""What ties a mutator to the blocks of a model: the step's decisions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from nas_plugin.choice.decision import Decision, Dispatch
from nas_plugin.choice.isolate import forget_writes
from nas_plugin.choice.keys import KeyedBlock, keyed_blocks
from nas_plugin.errors import ChoiceError


class Binding:
    """Holds one decision a key for all blocks bound to it.

    Args:
        owner: Who decides, as errors call it.

    Attributes:
        decisions: Key → this step's decision.
        dispatch: Computes `fan_out` faster; None runs block by block.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.decisions: Mapping[str, Decision] = {}
        self.dispatch: Dispatch | None = None

    def attach(self, model: nn.Module) -> list[KeyedBlock]:
        """Binds every block of `model` and returns them.

        Raises:
            ChoiceError: If a block is bound already, or keys contradict each other.
        """
        blocks = keyed_blocks(model)
        for entry in blocks:
            bound = entry.block.binding
            if bound is not None and bound is not self:
                raise ChoiceError(
                    f"The choice block '{entry.key}' is decided by {bound.owner} already, so "
                    f"{self.owner} cannot decide it. Call unbind(model) on the first mutator."
                )
        for entry in blocks:
            entry.block.bind(self, entry.key)
        self.forget()
        forget_writes(model)
        return blocks

    def detach(self, model: nn.Module) -> None:
        """Frees the blocks of `model` that are bound here."""
        unbind(model, self)

    def forget(self) -> None:
        """Drops what the dispatcher remembers about blocks."""
        if self.dispatch is not None:
            self.dispatch.forget()


def unbind(model: nn.Module, binding: Binding | None = None) -> None:
    """Frees the choice blocks of `model`: those bound to `binding`, or all."""
    for entry in keyed_blocks(model):
        bound = entry.block.binding
        if bound is not None and (binding is None or bound is binding):
            entry.block.bind(None, None)
            bound.forget()
    forget_writes(model)
