"""The cell space of DARTS for images: the network that is searched, and the one that is retrained.

Liu et al. 2019, https://arxiv.org/abs/1806.09055
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell
from nas_plugin.errors import OptionError
from nas_plugin.operations import (
    DilConv,
    DropPath,
    FactorizedReduce,
    Noise,
    ReLUConvBN,
    SepConv,
    Zero,
    avg_pool,
    max_pool,
    skip_connect,
)

if TYPE_CHECKING:
    from nas_plugin.description import Description

#: Kind of cell (``normal`` or ``reduce``), node and source → the candidates of that edge.
Edges = Callable[[str, int, int], Sequence[str]]

#: The eight operations of an edge, in the order of their logits.
OPERATIONS = (
    "none", "maxpool", "avgpool", "skipconnect", "sepconv3x3", "sepconv5x5", "dilconv3x3",
    "dilconv5x5",
)  # fmt: skip

ARCHITECTURES = Path(__file__).parent / "architectures"


def architecture_file(name: str) -> Path:
    """Returns the file of a published cell: ``darts_v1`` (first order) or ``darts_v2``.

    Raises:
        OptionError: If there is no such one.
    """
    path = ARCHITECTURES / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in ARCHITECTURES.glob("*.json")))
        raise OptionError(f"There is no published cell '{name}'; known: {known}.")
    return path


def darts(
    *,
    channels: int = 16,
    layers: int = 8,
    nodes: int = 4,
    classes: int = 10,
    in_channels: int = 3,
    stem_multiplier: int = 3,
    partial: int = 1,
) -> DartsNet:
    """Returns the network that is searched.

    Its candidates' batch norms have no affine part, pooling is followed by one, and ``none`` is a
    candidate that is never kept. By default it has 1,930,618 weights and 2 x 14 x 8 logits.

    Args:
        channels: Of each node of the first cells; doubled by every reduction.
        layers: Cells.
        nodes: Intermediate nodes a cell.
        classes: Outputs.
        in_channels: Of the images.
        stem_multiplier: Channels of the stem, in multiples of `channels`.
        partial: Candidates see one in this many channels (PC-DARTS).
    """
    return DartsNet(
        channels,
        layers,
        nodes,
        classes,
        in_channels,
        stem_multiplier,
        affine=False,
        auxiliary=False,
        partial=partial,
    )


def darts_retrain(
    *,
    channels: int = 36,
    layers: int = 20,
    nodes: int = 4,
    classes: int = 10,
    in_channels: int = 3,
    stem_multiplier: int = 3,
    auxiliary: bool = True,
) -> DartsNet:
    """Returns the network to which an architecture is fixed and that is trained from scratch.

    While it trains it returns ``(logits, auxiliary logits)`` where `auxiliary`. Paths other than
    skip connections pass a `DropPath`.
    """
    return DartsNet(
        channels,
        layers,
        nodes,
        classes,
        in_channels,
        stem_multiplier,
        affine=True,
        auxiliary=auxiliary,
    )


class DartsNet(nn.Module):
    """A stem, `layers` cells of which those at a third and two thirds reduce, and a classifier.

    Args:
        channels: Of each node of the first cells; doubled by every reduction.
        layers: Cells.
        nodes: Intermediate nodes a cell.
        classes: Outputs.
        in_channels: Of the images.
        stem_multiplier: Channels of the stem, in multiples of `channels`.
        affine: Batch norms of candidates have weights: the network is to be retrained.
        auxiliary: A second classifier behind the second reduction.
        edges: The candidates of every edge; all eight where None.
        partial: Candidates see one in this many channels.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``, or a pair of them while an auxiliary head trains

    Raises:
        OptionError: If a size is not positive, or an auxiliary head has no place.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        nodes: int,
        classes: int,
        in_channels: int,
        stem_multiplier: int,
        *,
        affine: bool,
        auxiliary: bool,
        edges: Edges | None = None,
        partial: int = 1,
    ) -> None:
        super().__init__()
        if min(channels, layers, nodes, classes, in_channels, stem_multiplier) < 1:
            raise OptionError(
                "channels, layers, nodes, classes, in_channels and stem_multiplier must be "
                f"positive, got {channels}, {layers}, {nodes}, {classes}, {in_channels}, "
                f"{stem_multiplier}."
            )
        if partial < 1 or channels % partial:
            raise OptionError(
                f"channels ({channels}) must be a multiple of partial ({partial}), so that "
                "candidates see a whole number of them."
            )
        if auxiliary and layers < 3:
            raise OptionError(
                f"The auxiliary head stands behind the second reduction, which {layers} cells do "
                "not have. Use at least 3 layers, or auxiliary=False (--aux-weight 0)."
            )
        c = stem_multiplier * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        )
        self.cells = nn.ModuleList()
        # With fewer than three cells the thirds coincide with the start: no reduction there.
        reductions = {layers // 3, 2 * layers // 3} if layers >= 3 else set()
        self._auxiliary_at = 2 * layers // 3 if auxiliary else None
        self.auxiliary: nn.Module | None = None
        before_last, last, c = c, c, channels
        reduced_before = False
        for i in range(layers):
            reduces = i in reductions
            c = 2 * c if reduces else c
            cell = darts_cell(
                before_last, last, c, nodes, reduces=reduces, reduced_before=reduced_before,
                affine=affine, edges=edges, partial=partial,
            )  # fmt: skip
            self.cells.append(cell)
            before_last, last, reduced_before = last, nodes * c, reduces
            if i == self._auxiliary_at:
                self.auxiliary = AuxiliaryHead(last, classes)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        before_last = last = self.stem(x)
        extra = None
        for i, cell in enumerate(self.cells):
            before_last, last = last, cell(before_last, last)
            if self.auxiliary is not None and self.training and i == self._auxiliary_at:
                extra = self.auxiliary(last)
        out: Tensor = self.classifier(self.pool(last).flatten(1))
        return out if extra is None else (out, extra)

    def description(self) -> Description:
        """Returns the network as a graph."""
        from search_spaces.descriptions.darts import describe_darts

        return describe_darts(self)


def darts_cell(
    c_before_last: int,
    c_last: int,
    c: int,
    nodes: int,
    *,
    reduces: bool,
    reduced_before: bool,
    affine: bool,
    edges: Edges | None = None,
    partial: int = 1,
) -> Cell:
    """Returns a cell that reads the two cells before it; all of a kind share their key."""
    preprocess = [
        FactorizedReduce(c_before_last, c, affine=affine)
        if reduced_before
        else ReLUConvBN(c_before_last, c, affine=affine),
        ReLUConvBN(c_last, c, affine=affine),
    ]

    key = "reduce" if reduces else "normal"

    def edge(node: int, source: int) -> dict[str, nn.Module]:
        stride = 2 if reduces and source < 2 else 1
        names = OPERATIONS if edges is None else edges(key, node, source)
        return candidates(c // partial, stride, affine=affine, names=names)

    return Cell(
        key, edge, n_nodes=nodes, n_inputs=2, n_chosen=2, preprocess=preprocess, partial=partial
    )


def candidates(
    c: int, stride: int, *, affine: bool, names: Sequence[str] = OPERATIONS
) -> dict[str, nn.Module]:
    """Returns the operations of an edge, under the names that NNI gave them."""
    norm = not affine
    made: Mapping[str, Callable[[], nn.Module]] = {
        "none": lambda: Zero(stride),
        "noise": lambda: Noise(stride),
        "maxpool": lambda: max_pool(c, stride, norm=norm),
        "avgpool": lambda: avg_pool(c, stride, norm=norm),
        "skipconnect": lambda: skip_connect(c, stride, affine=affine),
        "sepconv3x3": lambda: SepConv(c, 3, stride, affine=affine),
        "sepconv5x5": lambda: SepConv(c, 5, stride, affine=affine),
        "dilconv3x3": lambda: DilConv(c, 3, stride, affine=affine),
        "dilconv5x5": lambda: DilConv(c, 5, stride, affine=affine),
    }
    found = {name: made[name]() for name in names}
    if not affine:
        return found
    return {
        name: op if isinstance(op, nn.Identity) else nn.Sequential(op, DropPath())
        for name, op in found.items()
    } | {name: found[name] for name in ("none",) if name in found}


class AuxiliaryHead(nn.Module):
    """A second classifier behind the second reduction, as in the paper's CIFAR network.

    There it sees 8x8 feature maps; those of other sizes are pooled to 2x2 as well.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, classes)``
    """

    def __init__(self, c: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            PoolTo2x2(),
            nn.Conv2d(c, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return out


class PoolTo2x2(nn.Module):
    """Averages 5x5 windows that overlap where the map is 8x8, and quarters of it elsewhere.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, C, 2, 2)``
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == (8, 8):
            return nn.functional.avg_pool2d(x, 5, stride=3)
        return nn.functional.adaptive_avg_pool2d(x, 2)
