"""Dropout on skip connections, so that they do not win by training fastest."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice


class DroppedSkip(nn.Module):
    """The identity, of which each number is dropped with probability `p` while it trains.

    Args:
        p: The probability; what is left is divided by ``1 - p``.

    Shape:
        - Input, output: any
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


def drop_skips(model: nn.Module) -> list[DroppedSkip]:
    """Puts a `DroppedSkip` in the place of every candidate that is an identity, and returns them.

    Skip connections of stride 2 have weights and stay as they are.

    Raises:
        ChoiceError: If a mutator decides the model.
    """
    found = []
    for place in keyed_blocks(model):
        if isinstance(place.block, LayerChoice):
            for name in place.block.names:
                if type(place.block[name]) is nn.Identity:
                    place.block[name] = DroppedSkip()
                    found.append(place.block[name])
    return found
