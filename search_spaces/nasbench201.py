"""The space of NAS-Bench-201: the supernet, and any of its 15,625 children.

Dong & Yang 2020, https://arxiv.org/abs/2001.00326. Strings are read and written by
`nas_plugin.space.encodings.nasbench201`, official indices by `nas_plugin.benchmarks.NasBench201`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from nas_plugin.choice import LayerChoice, fan_out
from nas_plugin.errors import OptionError
from nas_plugin.operations import ReLUConvBN, Zero, avg_pool
from nas_plugin.space.encodings import nasbench201 as encoding
from nas_plugin.space.fix import apply_fixed_architecture

if TYPE_CHECKING:
    from nas_plugin.description import Description


def nasbench201(
    *,
    channels: int = 16,
    cells: int = 5,
    classes: int = 10,
    in_channels: int = 3,
    affine: bool = True,
    partial: int = 1,
) -> NasBench201Net:
    """Returns the supernet: three stages of `cells` cells, all cells alike.

    Args:
        channels: Of the first stage; doubled twice.
        cells: Of each stage.
        classes: Outputs.
        in_channels: Of the images.
        affine: Batch norms of candidates have weights, as in the benchmark's children.
        partial: Candidates see one in this many channels.
    """
    return NasBench201Net(channels, cells, classes, in_channels, affine=affine, partial=partial)


def child(architecture: str | Mapping[str, Any], **sizes: Any) -> nn.Module:
    """Returns the plain network of one cell.

    Args:
        architecture: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, or keys and choices as
            `NasBench201.architecture(index)` gives them.
        **sizes: As `nasbench201` takes them.

    Raises:
        ArchitectureError: If it is no cell of the space.
    """
    if isinstance(architecture, str):
        architecture = encoding.from_string(architecture)
    return apply_fixed_architecture(nasbench201(**sizes), architecture)


class NasBench201Net(nn.Module):
    """The macro network of the benchmark.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``

    Raises:
        OptionError: If a size is not positive.
    """

    def __init__(
        self,
        channels: int,
        cells: int,
        classes: int,
        in_channels: int,
        *,
        affine: bool,
        partial: int = 1,
    ) -> None:
        super().__init__()
        if partial < 1 or channels % partial:
            raise OptionError(
                f"channels ({channels}) must be a multiple of partial ({partial}), so that "
                "candidates see a whole number of them."
            )
        if min(channels, cells, classes, in_channels) < 1:
            raise OptionError(
                "channels, cells, classes and in_channels must be positive, got "
                f"{channels}, {cells}, {classes}, {in_channels}."
            )
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        stages: list[nn.Module] = []
        c = channels
        for stage in range(3):
            if stage > 0:
                stages.append(ResidualReduction(c, 2 * c))
                c *= 2
            stages.extend(Cell201(c, affine=affine, partial=partial) for _ in range(cells))
        self.cells = nn.Sequential(*stages)
        self.last = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.cells(self.stem(x))).mean(dim=(2, 3))
        out = self.classifier(out)
        return out

    def description(self) -> Description:
        """Returns the network as a graph."""
        from search_spaces.descriptions.nasbench201 import describe_nasbench201

        return describe_nasbench201(self)


class Cell201(nn.Module):
    """Four nodes; each sums one operation on every earlier node.

    Operations that lead only into zeros stay when an architecture is fixed: the published costs
    count them.

    Shape:
        - Input, output: ``(N, C, H, W)``
    """

    def __init__(self, c: int, *, affine: bool, partial: int = 1) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                key: LayerChoice(candidates(c // partial, affine=affine), key=key, partial=partial)
                for key in encoding.KEYS
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        arriving: dict[int, list[Tensor]] = {1: [], 2: [], 3: []}
        for source in range(3):
            state = sum(arriving[source][1:], arriving[source][0]) if source else x
            targets = [t for t, s in encoding.EDGES if s == source]
            edges = [self.edges[f"edge_{t}_{source}"] for t in targets]
            for target, out in zip(targets, fan_out(state, edges), strict=True):
                arriving[target].append(out)
        return sum(arriving[3][1:], arriving[3][0])


class ResidualReduction(nn.Module):
    """The basic residual block between stages: halves H and W, C to C'.

    Shape:
        - Input: ``(N, c_in, H, W)``
        - Output: ``(N, c_out, H / 2, W / 2)``
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ReLUConvBN(c_in, c_out, 3, 2), ReLUConvBN(c_out, c_out, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


def candidates(c: int, *, affine: bool) -> dict[str, nn.Module]:
    """Returns the five operations of an edge, in the benchmark's order."""
    made: dict[str, nn.Module] = {
        "none": Zero(keep=True),
        "skip_connect": nn.Identity(),
        "nor_conv_1x1": ReLUConvBN(c, c, 1, affine=affine),
        "nor_conv_3x3": ReLUConvBN(c, c, 3, affine=affine),
        "avg_pool_3x3": avg_pool(c, norm=False),
    }
    return {name: made[name] for name in encoding.OPS}
