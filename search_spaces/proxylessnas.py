"""The space of ProxylessNAS: MobileNetV2 blocks of kernel 3, 5, 7 and expansion 3, 6, or a skip.

Cai, Zhu, Han 2019, https://arxiv.org/abs/1812.00332
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.operations.mbconv import ConvBNReLU6, MBConv, Residual

#: Channels, blocks and stride of each stage, for images of 224 pixels.
CHANNELS = (24, 40, 80, 96, 192, 320)
REPEATS = (4, 4, 4, 4, 4, 1)
STRIDES = (2, 2, 2, 1, 2, 1)
KERNELS = (3, 5, 7)
EXPANSIONS = (3, 6)


def proxylessnas(
    *,
    classes: int = 1000,
    in_channels: int = 3,
    channels: Sequence[int] = CHANNELS,
    repeats: Sequence[int] = REPEATS,
    strides: Sequence[int] = STRIDES,
    stem: int = 32,
    first: int = 16,
    last: int = 1280,
    small_images: bool = False,
    skip: bool = True,
    dropout: float = 0.0,
) -> ProxylessNet:
    """Returns the supernet; an architecture is fixed to it and trained with the same function.

    Args:
        classes: Outputs.
        in_channels: Of the images.
        channels: Of each stage.
        repeats: Blocks of each stage.
        strides: Of the first block of each stage.
        stem: Channels of the first convolution.
        first: Channels of the block before the stages, which is not searched.
        last: Features before the classifier.
        small_images: Stem without stride, for images of 32 pixels and less.
        skip: Blocks that keep the shape may be left out; False searches without a zero layer.
        dropout: Before the classifier.
    """
    return ProxylessNet(
        classes, in_channels, channels, repeats, strides, stem, first, last,
        small_images=small_images, skip=skip, dropout=dropout,
    )  # fmt: skip


class ProxylessNet(nn.Module):
    """A stem, stages of choice blocks and a classifier.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``

    Raises:
        OptionError: If stages contradict each other.
    """

    def __init__(
        self,
        classes: int,
        in_channels: int,
        channels: Sequence[int],
        repeats: Sequence[int],
        strides: Sequence[int],
        stem: int,
        first: int,
        last: int,
        *,
        small_images: bool,
        skip: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if not len(channels) == len(repeats) == len(strides) or min(repeats, default=0) < 1:
            raise OptionError(
                "channels, repeats and strides hold one positive number a stage, got "
                f"{list(channels)}, {list(repeats)} and {list(strides)}."
            )
        self.stem = nn.Sequential(
            ConvBNReLU6(in_channels, stem, 3, 1 if small_images else 2),
            MBConv(stem, first, 3, 1, expansion=1),
        )
        self.blocks = nn.ModuleList()
        c = first
        for c_out, repeat, stage_stride in zip(channels, repeats, strides, strict=True):
            for i in range(repeat):
                stride = stage_stride if i == 0 else 1
                key = f"block_{len(self.blocks)}"
                self.blocks.append(LayerChoice(candidates(c, c_out, stride, skip=skip), key=key))
                c = c_out
        self.last = ConvBNReLU6(c, last)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.classifier(self.dropout(self.last(x).mean(dim=(2, 3))))
        return out


def candidates(c_in: int, c_out: int, stride: int, *, skip: bool) -> dict[str, nn.Module]:
    """Returns six inverted residuals and, where the shape stays, ``skip``."""
    keeps_shape = stride == 1 and c_in == c_out
    found: dict[str, nn.Module] = {}
    for kernel in KERNELS:
        for expansion in EXPANSIONS:
            block = MBConv(c_in, c_out, kernel, stride, expansion)
            found[f"mb{expansion}_{kernel}x{kernel}"] = Residual(block) if keeps_shape else block
    if keeps_shape and skip:
        found["skip"] = nn.Identity()
    return found
