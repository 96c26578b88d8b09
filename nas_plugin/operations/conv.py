"""Convolutions of the DARTS family: ReLU, convolution, batch norm.

In all of them C channels go in and out unless said otherwise, and a stride of 2 halves H and W.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ReLUConvBN(nn.Sequential):
    """ReLU, convolution, batch norm.

    Shape:
        - Input: ``(N, c_in, H, W)``
        - Output: ``(N, c_out, H / stride, W / stride)``
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, *, affine: bool = True
    ) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out, affine=affine),
        )


class DilConv(nn.Sequential):
    """ReLU, dilated depthwise and pointwise convolution, batch norm."""

    def __init__(
        self, c: int, kernel: int, stride: int = 1, dilation: int = 2, *, affine: bool = True
    ) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False),
            nn.Conv2d(c, c, 1, bias=False),
            nn.BatchNorm2d(c, affine=affine),
        )


class SepConv(nn.Sequential):
    """A separable convolution, applied twice; the first has the stride."""

    def __init__(self, c: int, kernel: int, stride: int = 1, *, affine: bool = True) -> None:
        super().__init__(
            DilConv(c, kernel, stride, dilation=1, affine=affine),
            DilConv(c, kernel, 1, dilation=1, affine=affine),
        )


class FactorizedReduce(nn.Module):
    """Halves H and W by two pointwise convolutions, one of them shifted by a pixel.

    Shape:
        - Input: ``(N, c_in, H, W)``; odd sizes give ``ceil``
        - Output: ``(N, c_out, H / 2, W / 2)``
    """

    def __init__(self, c_in: int, c_out: int, *, affine: bool = True) -> None:
        super().__init__()
        # With few channels the pixels are taken before the convolution: oneDNN's strided pointwise
        # convolution corrupts memory there (nas_plugin.runtime.layout).
        self.step = 2 if c_in < 16 else 1
        stride = 2 // self.step
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(c_in, c_out // 2, 1, stride, bias=False)
        self.conv2 = nn.Conv2d(c_in, c_out - c_out // 2, 1, stride, bias=False)
        self.norm = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        # The zeros at the end are read only where a size is odd.
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1 :: self.step, 1 :: self.step]
        first = self.conv1(x[:, :, :: self.step, :: self.step])
        out: Tensor = self.norm(torch.cat([first, self.conv2(shifted)], dim=1))
        return out
