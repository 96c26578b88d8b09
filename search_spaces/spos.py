"""The space of Single Path One-Shot: 20 ShuffleNetV2 blocks of four candidates.

Guo et al. 2019, https://arxiv.org/abs/1904.00420
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.operations.shuffle import ShuffleBlock

#: Blocks and channels of each stage, for images of 224 pixels.
REPEATS = (4, 4, 8, 4)
CHANNELS = (64, 160, 320, 640)


def spos(
    *,
    classes: int = 1000,
    in_channels: int = 3,
    repeats: Sequence[int] = REPEATS,
    channels: Sequence[int] = CHANNELS,
    stem: int = 16,
    last: int = 1024,
    small_images: bool = False,
    dropout: float = 0.1,
) -> SposNet:
    """Returns the supernet; an architecture is fixed to it and trained with the same function.

    Args:
        classes: Outputs.
        in_channels: Of the images.
        repeats: Blocks of each stage; the first of a stage halves height and width.
        channels: Of each stage, even and growing.
        stem: Channels of the stem.
        last: Features before the classifier.
        small_images: Stem without stride, for images of 32 pixels and less.
        dropout: Before the classifier.
    """
    return SposNet(
        classes, in_channels, repeats, channels, stem, last, small_images=small_images,
        dropout=dropout,
    )  # fmt: skip


class SposNet(nn.Module):
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
        repeats: Sequence[int],
        channels: Sequence[int],
        stem: int,
        last: int,
        *,
        small_images: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if len(repeats) != len(channels) or not repeats or min(repeats) < 1:
            raise OptionError(
                "repeats and channels hold one positive number a stage, got "
                f"{list(repeats)} and {list(channels)}."
            )
        first_stride = 1 if small_images else 2
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, first_stride, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.ModuleList()
        c = stem
        for repeat, c_out in zip(repeats, channels, strict=True):
            for i in range(repeat):
                stride = 2 if i == 0 else 1
                key = f"block_{len(self.blocks)}"
                self.blocks.append(LayerChoice(candidates(c, c_out, stride), key=key))
                c = c_out
        self.last = nn.Sequential(
            nn.Conv2d(c, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(last, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.classifier(self.dropout(self.last(x).mean(dim=(2, 3))))
        return out


def candidates(c_in: int, c_out: int, stride: int) -> dict[str, nn.Module]:
    """Returns the four blocks of the paper."""
    return {
        "shuffle3": ShuffleBlock(c_in, c_out, 3, stride),
        "shuffle5": ShuffleBlock(c_in, c_out, 5, stride),
        "shuffle7": ShuffleBlock(c_in, c_out, 7, stride),
        "xception": ShuffleBlock(c_in, c_out, 3, stride, depthwise=3),
    }
