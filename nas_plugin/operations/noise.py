"""A candidate that knows nothing of its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Noise(nn.Module):
    """Gives standard normal noise, as the hardest space of RobustDARTS has it.

    Draws from torch's global generator, which every checkpoint holds.

    Args:
        stride: Stride of the operation.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, C, H / stride, W / stride)``

    References:
        Zela et al. 2020, https://arxiv.org/abs/1909.09656
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn_like(x[:, :, :: self.stride, :: self.stride])

    def extra_repr(self) -> str:
        return f"stride={self.stride}"
