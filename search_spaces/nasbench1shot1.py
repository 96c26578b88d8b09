"""The three spaces of NAS-Bench-1Shot1 and that of NAS-Bench-101, as supernets.

A cell has an input, inner nodes of one operation each, and an output. What a node or the output
reads is an InputChoice over all earlier vertices, its parents; architectures are those that
`nas_plugin.benchmarks` looks up.

Zela, Siems, Hutter 2020, https://arxiv.org/abs/2001.10422; Ying et al. 2019,
https://arxiv.org/abs/1902.09635.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice, fan_out
from nas_plugin.errors import OptionError
from nas_plugin.space.encodings import nasbench101 as encoding101
from nas_plugin.space.encodings.nasbench1shot1 import OPS, OneShotSpace

if TYPE_CHECKING:
    from nas_plugin.description import Description


def nasbench1shot1_1(
    *, channels: int = 16, cells: int = 3, classes: int = 10, in_channels: int = 3
) -> GraphNet:
    """Returns space 1: four inner nodes of 1, 2, 2, 2 parents, and 2 of the output.

    Args:
        channels: Of the first stage; doubled twice.
        cells: Of each of the three stages.
        classes: Outputs.
        in_channels: Of the images.
    """
    return _one_shot(1, channels, cells, classes, in_channels)


def nasbench1shot1_2(
    *, channels: int = 16, cells: int = 3, classes: int = 10, in_channels: int = 3
) -> GraphNet:
    """Returns space 2: four inner nodes of 1, 1, 2, 2 parents, and 3 of the output.

    Args:
        channels: Of the first stage; doubled twice.
        cells: Of each of the three stages.
        classes: Outputs.
        in_channels: Of the images.
    """
    return _one_shot(2, channels, cells, classes, in_channels)


def nasbench1shot1_3(
    *, channels: int = 16, cells: int = 3, classes: int = 10, in_channels: int = 3
) -> GraphNet:
    """Returns space 3: five inner nodes of 1, 1, 1, 2, 2 parents, and 2 of the output.

    Args:
        channels: Of the first stage; doubled twice.
        cells: Of each of the three stages.
        classes: Outputs.
        in_channels: Of the images.
    """
    return _one_shot(3, channels, cells, classes, in_channels)


def nasbench101(
    *, channels: int = 16, cells: int = 3, classes: int = 10, in_channels: int = 3
) -> GraphNet:
    """Returns all cells of up to five inner nodes, each of any number of parents.

    Meant for methods that run single paths. Like the benchmark's own space it holds cells of more
    than nine edges, and such without a path from input to output; `Graph.is_legal` tells.

    Args:
        channels: Of the first stage; doubled twice.
        cells: Of each of the three stages.
        classes: Outputs.
        in_channels: Of the images.
    """
    names = encoding101.VERTICES
    any_number = dict.fromkeys(names[1:])
    return GraphNet(names, any_number, encoding101.OPS, channels, cells, classes, in_channels)


def _one_shot(number: int, channels: int, cells: int, classes: int, in_channels: int) -> GraphNet:
    space = OneShotSpace(number)
    parents = dict(zip(space.names[1:], space.n_parents, strict=True))
    return GraphNet(space.names, parents, OPS, channels, cells, classes, in_channels)


class GraphNet(nn.Module):
    """A stem, three stages of cells with max pooling between, and a classifier.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``

    Raises:
        OptionError: If a size is not positive.
    """

    def __init__(
        self,
        names: Sequence[str],
        n_parents: Mapping[str, int | None],
        ops: Sequence[str],
        channels: int,
        cells: int,
        classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        if min(channels, cells, classes, in_channels) < 1:
            raise OptionError(
                "channels, cells, classes and in_channels must be positive, got "
                f"{channels}, {cells}, {classes}, {in_channels}."
            )
        c_in, c = channels, channels
        stages: list[nn.Module] = [conv_bn_relu(in_channels, channels, 3)]
        for stage in range(3):
            if stage > 0:
                stages.append(nn.MaxPool2d(2, 2, ceil_mode=True))
                c = 2 * c
            for _ in range(cells):
                stages.append(GraphCell(names, n_parents, ops, c_in, c))
                c_in = c
        self.cells = nn.Sequential(*stages)
        self.classifier = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.cells(x).mean(dim=(2, 3)))
        return out

    def description(self) -> Description:
        """Returns the network as a graph."""
        from search_spaces.descriptions.nasbench1shot1 import describe_nasbench1shot1

        return describe_nasbench1shot1(self)


class GraphCell(nn.Module):
    """Vertices in a row; each applies its operation to the sum of its parents.

    The benchmark's output vertex concatenates its parents, whose widths depend on their number.
    Here it adds them, so that weights can be shared by cells of any number.

    Shape:
        - Input: ``(N, c_in, H, W)``
        - Output: ``(N, c, H, W)``
    """

    def __init__(
        self,
        names: Sequence[str],
        n_parents: Mapping[str, int | None],
        ops: Sequence[str],
        c_in: int,
        c: int,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.projections = nn.ModuleDict({v: conv_bn_relu(c_in, c, 1) for v in self.names[1:]})
        self.parents = nn.ModuleDict()
        self.ops = nn.ModuleDict()
        for position, name in enumerate(self.names[1:], 1):
            self.parents[name] = InputChoice(
                choose_from=self.names[:position],
                n_chosen=n_parents[name],
                key=f"parents_{name}",
            )
            if name != self.names[-1]:
                made = {op: operation(op, c) for op in ops}
                self.ops[name] = LayerChoice(made, key=f"op_{name}")

    def forward(self, x: Tensor) -> Tensor:
        states: list[Tensor] = []
        out = x
        projections = [self.projections[name] for name in self.names[1:]]
        first = next(iter(self.ops.values()), None)
        all_projected = fan_out(x, projections, beside=first)
        for name, projected in zip(self.names[1:], all_projected, strict=True):
            joined = self.parents[name]([projected, *states])
            # A vertex without parents gives nothing to those that read it.
            out = torch.zeros_like(projected) if joined is None else joined
            if joined is not None and name in self.ops:
                out = fan_out(out, [self.ops[name]])[0]
            states.append(out)
        return out


def operation(name: str, c: int) -> nn.Module:
    """Returns an operation of the benchmark under its name."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, 1, padding=1)
    return conv_bn_relu(c, c, 3 if name.startswith("conv3x3") else 1)


def conv_bn_relu(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    """Returns a convolution that keeps the maps' size, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
    )
