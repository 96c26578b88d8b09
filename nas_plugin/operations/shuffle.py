"""Blocks of the ShuffleNetV2 family, as Single Path One-Shot searches them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError


class ShuffleBlock(nn.Module):
    """Keeps half of the channels and convolves the other half; stride 2 convolves both branches.

    Args:
        c_in: Input channels; at stride 1 half of them pass by.
        c_out: Output channels.
        kernel: Side of the depthwise convolutions.
        stride: 1 or 2.
        depthwise: 1 is the ShuffleNetV2 branch (pointwise, depthwise, pointwise); 3 the Xception
            branch (depthwise and pointwise, three times).

    Shape:
        - Input: ``(N, c_in, H, W)``
        - Output: ``(N, c_out, H / stride, W / stride)``

    Raises:
        OptionError: If the channels cannot be halved or a number is not allowed.

    References:
        Ma et al. 2018, https://arxiv.org/abs/1807.11164;
        Guo et al. 2019, https://arxiv.org/abs/1904.00420
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1, *, depthwise: int = 1
    ) -> None:
        super().__init__()
        if stride not in (1, 2) or depthwise not in (1, 3):
            raise OptionError(
                f"ShuffleBlock takes stride 1 or 2 and depthwise 1 or 3, got {stride}, {depthwise}."
            )
        if c_out % 2 or (stride == 1 and c_in != c_out):
            raise OptionError(
                f"ShuffleBlock halves its channels: c_out must be even, and equal to c_in at "
                f"stride 1; got c_in={c_in}, c_out={c_out}, stride={stride}."
            )
        self.stride = stride
        c_branch = c_in if stride == 2 else c_in // 2
        c_new = c_out - c_branch
        if c_new < 1:
            raise OptionError(f"ShuffleBlock at stride 2 needs c_out > c_in, got {c_out}, {c_in}.")
        middle = c_out // 2
        if depthwise == 1:
            parts = [
                *_pointwise(c_branch, middle),
                *_depthwise(middle, kernel, stride),
                *_pointwise(middle, c_new),
            ]
        else:
            parts = [
                *_depthwise(c_branch, kernel, stride),
                *_pointwise(c_branch, middle),
                *_depthwise(middle, kernel, 1),
                *_pointwise(middle, middle),
                *_depthwise(middle, kernel, 1),
                *_pointwise(middle, c_new),
            ]
        self.branch = nn.Sequential(*parts)
        self.shortcut = nn.Sequential()
        if stride == 2:
            self.shortcut = nn.Sequential(
                *_depthwise(c_in, kernel, stride), *_pointwise(c_in, c_in)
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            return torch.cat([self.shortcut(x), self.branch(x)], dim=1)
        # Even and odd channels: the split shuffles the channels as well, as in the authors' code.
        return torch.cat([x[:, ::2], self.branch(x[:, 1::2])], dim=1)


def _pointwise(c_in: int, c_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(c_in, c_out, 1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    ]


def _depthwise(c: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(c, c, kernel, stride, kernel // 2, groups=c, bias=False),
        nn.BatchNorm2d(c),
    ]
