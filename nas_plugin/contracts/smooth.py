"""A small network in which everything is smooth, for checks that are exact."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell

#: Candidates of an edge, in the order of their logits.
OPERATIONS = ("none", "skip", "pool", "conv")


class Zeros(nn.Module):
    """Gives zeros, and is never kept."""

    never_kept = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class TanhConv(nn.Module):
    """A 3x3 convolution of tanh.

    Shape:
        - Input, output: ``(N, C, H, W)``
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x.tanh())
        return out


class SmoothNet(nn.Module):
    """Two cells of DARTS with tanh and average pooling: no batch norm, no kink, no dropout.

    Derivatives of any order exist, the loss of a batch is a mean over its samples, and nothing is
    random, so that second order, several processes and micro-batches can be compared exactly.

    Args:
        channels: C.
        nodes: Intermediate nodes of a cell.
        classes: Outputs.
        partial: As `LayerChoice` takes it; C must be a multiple of it.

    Shape:
        - Input: ``(N, 1, H, W)``
        - Output: ``(N, classes)``
    """

    def __init__(
        self, *, channels: int = 2, nodes: int = 2, classes: int = 3, partial: int = 1
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)

        def edge(node: int, source: int) -> dict[str, nn.Module]:
            made = {
                "none": Zeros(),
                "skip": nn.Identity(),
                "pool": nn.AvgPool2d(3, 1, padding=1),
                "conv": TanhConv(channels // partial),
            }
            return {name: made[name] for name in OPERATIONS}

        self.cells = nn.ModuleList(
            Cell("cell", edge, n_nodes=nodes, partial=partial, output="last") for _ in range(2)
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        first = last = self.stem(x)
        for cell in self.cells:
            first, last = last, cell(first, last)
        out: Tensor = self.head(last.tanh().mean(dim=(2, 3)))
        return out


def smooth_net(
    *, channels: int = 2, nodes: int = 2, classes: int = 3, partial: int = 1
) -> SmoothNet:
    """Returns a `SmoothNet`; its arguments are the network's sizes."""
    return SmoothNet(channels=channels, nodes=nodes, classes=classes, partial=partial)
