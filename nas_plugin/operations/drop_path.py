"""Drop-path: whole paths vanish for single samples while a network trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError


class DropPath(nn.Module):
    """Sets samples to zero with probability `p` in training, and scales the others up.

    Draws from torch's global generator, which every checkpoint holds.

    Shape:
        - Input, output: ``(N, …)``

    References:
        Larsson et al. 2017, https://arxiv.org/abs/1605.07648
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        shape = (len(x), *(1 for _ in x.shape[1:]))
        kept = torch.rand(shape, device=x.device) >= self.p
        return x / (1 - self.p) * kept

    def extra_repr(self) -> str:
        return f"p={self.p}"


def set_drop_path(model: nn.Module, p: float) -> None:
    """Sets the probability of every `DropPath` in `model`.

    Raises:
        OptionError: If `p` is not in [0, 1).
    """
    if not 0 <= p < 1:
        raise OptionError(f"A drop-path probability lies in [0, 1), got {p}.")
    for module in model.modules():
        if isinstance(module, DropPath):
            module.p = p
