"""Partial channels: candidates see a part of the channels, the rest passes them by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_plugin.errors import ChoiceError


def split_channels(x: Any, k: int, label: str) -> tuple[Tensor, Tensor]:
    """Returns the first C / k channels and the others.

    Raises:
        ChoiceError: If `x` is no tensor whose channels can be divided by k.
    """
    if not isinstance(x, Tensor) or x.dim() < 2 or x.shape[1] % k:
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ChoiceError(
            f"{label} has partial={k}: it takes a tensor (N, C, …) whose C is a multiple of {k}, "
            f"got {found}. Choose a number of channels that is, or partial=1."
        )
    c = x.shape[1] // k
    return x[:, :c], x[:, c:]


def joined_channels(out: Any, rest: Tensor, k: int) -> Tensor:
    """Returns both parts, shuffled in k groups; the rest is max-pooled if candidates halve maps.

    Shape:
        - out: ``(N, C / k, H', W')``
        - rest: ``(N, C - C / k, H, W)`` with ``H' = H`` or ``H / 2``
        - Output: ``(N, C, H', W')``
    """
    if out.shape[2:] != rest.shape[2:]:
        rest = F.max_pool2d(rest, 2, 2, ceil_mode=True)
    both = torch.cat([out, rest], dim=1)
    n, c, *maps = both.shape
    return both.view(n, k, c // k, *maps).transpose(1, 2).reshape(n, c, *maps)


class PartialChannels(nn.Module):
    """A chosen candidate that saw a part of the channels, in the place of its block.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, C, H', W')``
    """

    def __init__(self, chosen: nn.Module, k: int) -> None:
        super().__init__()
        self.chosen, self.k = chosen, k

    def forward(self, x: Tensor) -> Tensor:
        seen, rest = split_channels(x, self.k, type(self).__name__)
        return joined_channels(self.chosen(seen), rest, self.k)

    def extra_repr(self) -> str:
        return f"k={self.k}"
