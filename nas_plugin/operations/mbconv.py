"""Inverted residuals of the MobileNetV2 family."""

from __future__ import annotations

from torch import Tensor, nn


class ConvBNReLU6(nn.Sequential):
    """Convolution, batch norm, ReLU6.

    Shape:
        - Input: ``(N, c_in, H, W)``
        - Output: ``(N, c_out, H / stride, W / stride)``
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU6(inplace=True),
        )


class MBConv(nn.Sequential):
    """Expands channels, convolves each by itself, projects back; no shortcut of its own.

    Args:
        c_in: Input channels.
        c_out: Output channels.
        kernel: Side of the depthwise convolution.
        stride: Stride of the depthwise convolution.
        expansion: Factor of the channels in between; 1 leaves the expansion out.

    Shape:
        - Input: ``(N, c_in, H, W)``
        - Output: ``(N, c_out, H / stride, W / stride)``

    References:
        Sandler et al. 2018, https://arxiv.org/abs/1801.04381
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1, expansion: int = 6
    ) -> None:
        wide = c_in * expansion
        expand = [ConvBNReLU6(c_in, wide)] if expansion != 1 else []
        super().__init__(
            *expand,
            ConvBNReLU6(wide, wide, kernel, stride, groups=wide),
            nn.Conv2d(wide, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )


class Residual(nn.Module):
    """Adds the input to what `body` makes of it.

    Shape:
        - Input, output: what `body` maps to its own shape
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out
