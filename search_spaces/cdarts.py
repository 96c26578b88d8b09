"""The networks that CDARTS searches with: DARTS' cells, and heads whose outputs are distilled.

Yu & Peng 2020, https://arxiv.org/abs/2006.10724
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError
from search_spaces.darts import DartsNet


def cdarts(
    *,
    channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    classes: int = 10,
    in_channels: int = 3,
    stem_multiplier: int = 1,
    shared: CdartsNet | None = None,
) -> CdartsNet:
    """Returns a network whose cells are those of `darts`; both networks of CDARTS are made so.

    Args:
        channels: Of each node of the first cells; doubled by every reduction.
        layers: Cells, at least 3: heads stand behind both reductions.
        nodes: Intermediate nodes of a cell.
        classes: Outputs.
        in_channels: Of the images.
        stem_multiplier: Channels of the stem, in multiples of `channels`.
        shared: Another such network, whose stem and heads are used here too.
    """
    return CdartsNet(channels, layers, nodes, classes, in_channels, stem_multiplier, shared)


class CdartsNet(DartsNet):
    """Stem, cells and classifier of DARTS, with a distillation head behind each reduction.

    Args:
        channels: Of each node of the first cells.
        layers: Cells.
        nodes: Intermediate nodes of a cell.
        classes: Outputs.
        in_channels: Of the images.
        stem_multiplier: Channels of the stem, in multiples of `channels`.
        shared: Another such network, whose stem and heads are used here too.

    Attributes:
        aux_head: The heads.
        ensemble_param: ``(3,)``; their softmax weighs what heads and classifier give.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``; while it trains a pair, with the weighted outputs of both heads
          and the classifier below one another, ``(3 N, classes)``

    Raises:
        OptionError: If there are fewer than three cells, or what is shared has other sizes.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        nodes: int,
        classes: int,
        in_channels: int,
        stem_multiplier: int,
        shared: CdartsNet | None = None,
    ) -> None:
        if layers < 3:
            raise OptionError(
                f"Heads stand behind two reductions, so layers is 3 or more: {layers}."
            )
        super().__init__(
            channels, layers, nodes, classes, in_channels, stem_multiplier, affine=False,
            auxiliary=False,
        )  # fmt: skip
        self._heads_at = (layers // 3, 2 * layers // 3)
        self.aux_head = nn.ModuleList(
            DistillHead(nodes * channels * width, classes) for width in (2, 4)
        )
        self.ensemble_param = nn.Parameter(torch.rand(3) / 3)
        if shared is not None:
            sizes = [[p.shape for p in (*m.stem.parameters(), *m.aux_head.parameters())]
                     for m in (self, shared)]  # fmt: skip
            if sizes[0] != sizes[1]:
                raise OptionError("Networks that share stem and heads must agree in their sizes.")
            self.stem, self.aux_head = shared.stem, shared.aux_head

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        before_last = last = self.stem(x)
        outputs = []
        for i, cell in enumerate(self.cells):
            before_last, last = last, cell(before_last, last)
            if self.training and i in self._heads_at:
                outputs.append(self.aux_head[len(outputs)](last))
        logits: Tensor = self.classifier(self.pool(last).flatten(1))
        if not self.training:
            return logits
        weights = self.ensemble_param.softmax(0)
        weighted = [w * out for w, out in zip(weights, [*outputs, logits], strict=True)]
        return logits, torch.cat(weighted)


class DistillHead(nn.Module):
    """A classifier on feature maps of any size.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, classes)``
    """

    def __init__(self, c: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(c, 128, 1, bias=False),
            nn.BatchNorm2d(128, affine=False),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768, affine=False),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.features(x).flatten(1))
        return out
