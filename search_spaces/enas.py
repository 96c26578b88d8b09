"""The spaces of ENAS for images: whole networks with skip connections (macro), cells (micro).

Pham et al. 2018, https://arxiv.org/abs/1802.03268
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice, MutableScope, Nothing, fan_out
from nas_plugin.errors import OptionError
from nas_plugin.operations import FactorizedReduce, ReLUConvBN, SepConv, avg_pool, max_pool

if TYPE_CHECKING:
    from nas_plugin.description import Description


def enas_macro(
    *,
    channels: int = 36,
    layers: int = 12,
    classes: int = 10,
    in_channels: int = 3,
    dropout: float = 0.1,
) -> MacroNet:
    """Returns the macro supernet: `layers` layers of six operations, any earlier layers added.

    Args:
        channels: Of every layer.
        layers: Of which those at a third and two thirds are followed by a reduction.
        classes: Outputs.
        in_channels: Of the images.
        dropout: Before the classifier.
    """
    return MacroNet(channels, layers, classes, in_channels, dropout)


def enas_micro(
    *,
    channels: int = 20,
    layers: int = 6,
    nodes: int = 5,
    classes: int = 10,
    in_channels: int = 3,
    dropout: float = 0.1,
    auxiliary: bool = False,
) -> MicroNet:
    """Returns the micro supernet: normal cells in three groups, a reduction cell between groups.

    Args:
        channels: Of the first cells; doubled by every reduction.
        layers: Normal cells, a multiple of 3.
        nodes: Of each cell; each adds two operations.
        classes: Outputs.
        in_channels: Of the images.
        dropout: Before the classifier.
        auxiliary: A second classifier behind the second reduction; the network then returns
            ``(logits, auxiliary logits)`` while it trains.
    """
    return MicroNet(channels, layers, nodes, classes, in_channels, dropout, auxiliary=auxiliary)


class MacroNet(nn.Module):
    """A stem and layers that may read every earlier layer.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``

    Raises:
        OptionError: If a size is not positive.
    """

    def __init__(
        self, channels: int, layers: int, classes: int, in_channels: int, dropout: float
    ) -> None:
        super().__init__()
        _check_positive(channels=channels, layers=layers, classes=classes, in_channels=in_channels)
        self.stem = _stem(in_channels, channels)
        self.layers = nn.ModuleList(MacroLayer(i, channels) for i in range(layers))
        ends = {layers // 3 - 1, 2 * layers // 3 - 1} if layers >= 3 else set()
        # What a later skip connection may read is reduced by a module of its own.
        self.reductions = nn.ModuleDict({str(i): ReduceAll(i + 1, channels) for i in sorted(ends)})
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        outs: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            outs.append(layer(x, outs))
            if str(i) in self.reductions:
                outs = self.reductions[str(i)](outs)
            x = outs[-1]
        logits: Tensor = self.classifier(self.dropout(x.mean(dim=(2, 3))))
        return logits

    def drop_unread(self) -> None:
        """Removes, once an architecture is fixed, reductions that no later layer reads."""
        last_reader = {i: i + 1 for i in range(len(self.layers))}
        for i, layer in enumerate(self.layers):
            last_reader.update(dict.fromkeys(getattr(layer.skip, "indices", ()), i))
        for end, reduction in self.reductions.items():
            assert isinstance(reduction, ReduceAll)
            for i in range(int(end)):
                if last_reader[i] <= int(end):
                    reduction.each[i] = Nothing()


class ReduceAll(nn.Module):
    """Halves height and width of each of n tensors."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(FactorizedReduce(c, c) for _ in range(n))

    def forward(self, outs: list[Tensor]) -> list[Tensor]:
        return [reduce(out) for reduce, out in zip(self.each, outs, strict=True)]


class MacroLayer(MutableScope):
    """Layer i: one of six operations on the layer before, plus any earlier layers."""

    def __init__(self, i: int, c: int) -> None:
        super().__init__(f"layer_{i}")
        self.op = LayerChoice(
            {
                "conv3x3": ReLUConvBN(c, c, 3),
                "sepconv3x3": SepConv(c, 3),
                "conv5x5": ReLUConvBN(c, c, 5),
                "sepconv5x5": SepConv(c, 5),
                "avgpool": avg_pool(c),
                "maxpool": max_pool(c),
            }
        )
        self.skip: nn.Module | None = None
        if i > 0:
            self.skip = InputChoice(choose_from=[f"layer_{j}" for j in range(i)])
        self.norm = nn.BatchNorm2d(c)

    def forward(self, x: Tensor, outs: list[Tensor]) -> Tensor:
        """Maps the layer before and all earlier layers to this one."""
        out: Tensor = fan_out(x, [self.op])[0]
        added = None if self.skip is None else self.skip(outs)
        normed: Tensor = self.norm(out if added is None else out + added)
        return normed


class MicroNet(nn.Module):
    """A stem, normal cells with two reduction cells between them, and a classifier.

    Shape:
        - Input: ``(N, in_channels, H, W)``
        - Output: ``(N, classes)``, or a pair of them while an auxiliary head trains

    Raises:
        OptionError: If `layers` is no multiple of 3 or a size is not positive.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        nodes: int,
        classes: int,
        in_channels: int,
        dropout: float,
        *,
        auxiliary: bool,
    ) -> None:
        super().__init__()
        _check_positive(
            channels=channels, layers=layers, nodes=nodes, classes=classes, in_channels=in_channels
        )
        if layers % 3:
            raise OptionError(f"layers must be a multiple of 3, one third a stage, got {layers}.")
        third = layers // 3
        self._reductions = (third, 2 * third + 1)
        self.stem = _stem(in_channels, 3 * channels)
        self.cells = nn.ModuleList()
        before_last = last = 3 * channels
        c, reduced_before = channels, False
        for i in range(layers + 2):
            reduces = i in self._reductions
            c = 2 * c if reduces else c
            self.cells.append(MicroCell(before_last, last, c, nodes, reduces, reduced_before))
            before_last, last, reduced_before = last, c, reduces
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            self.auxiliary = nn.Sequential(
                nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes)
            )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        before_last = last = self.stem(x)
        extra = None
        for i, cell in enumerate(self.cells):
            before_last, last = last, cell(before_last, last)
            if i == self._reductions[1] and self.auxiliary is not None and self.training:
                extra = self.auxiliary(last)
        out: Tensor = self.classifier(self.dropout(last.relu().mean(dim=(2, 3))))
        return out if extra is None else (out, extra)

    def description(self) -> Description:
        """Returns the network as a graph."""
        from search_spaces.descriptions.enas import describe_enas_micro

        return describe_enas_micro(self)


class MicroCell(nn.Module):
    """Nodes 0 and 1 are the two cells before; the nodes that no node reads are joined.

    Shape:
        - Inputs: ``(N, c_before_last, …)``, ``(N, c_last, H, W)``
        - Output: ``(N, c, H / stride, W / stride)``
    """

    def __init__(
        self,
        c_before_last: int,
        c_last: int,
        c: int,
        nodes: int,
        reduces: bool,
        reduced_before: bool,
    ) -> None:
        super().__init__()
        shrinks_first = reduces or reduced_before
        self.first = (FactorizedReduce if shrinks_first else ReLUConvBN)(c_before_last, c)
        self.second = (FactorizedReduce if reduces else ReLUConvBN)(c_last, c)
        kind = "reduce" if reduces else "normal"
        self.nodes = nn.ModuleList(MicroNode(kind, node, c) for node in range(2, nodes + 2))
        # One pointwise convolution a node: their sum is that of the concatenation.
        self.joins = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(c, c, 1, bias=False)) for _ in range(nodes + 2)
        )
        self.norm = nn.BatchNorm2d(c)

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        states = [self.first(before_last), self.second(last)]
        read = torch.zeros(len(self.joins), dtype=torch.bool)
        for node in self.nodes:
            state, chosen = node(states)
            read[: len(chosen)] |= chosen
            states.append(state)
        # The last node is read by none, so there is always one to join.
        loose: list[Tensor] = [
            self.joins[i](state) for i, state in enumerate(states) if not read[i]
        ]
        normed: Tensor = self.norm(sum(loose[1:], loose[0]))
        return normed

    def drop_unread(self) -> None:
        """Removes, once an architecture is fixed, the convolutions of nodes that are not joined."""
        for node in self.nodes:
            for choice in (node.x_input, node.y_input):
                for i in getattr(choice, "indices", ()):
                    self.joins[i] = Nothing()


class MicroNode(MutableScope):
    """The sum of two operations, each on one earlier node."""

    def __init__(self, kind: str, node: int, c: int) -> None:
        super().__init__(f"{kind}_node_{node}")
        earlier = [f"{kind}_node_{j}" for j in range(node)]
        self.x_input = InputChoice(choose_from=earlier, n_chosen=1, return_mask=True)
        self.x_op = LayerChoice(micro_candidates(c))
        self.y_input = InputChoice(choose_from=earlier, n_chosen=1, return_mask=True)
        self.y_op = LayerChoice(micro_candidates(c))

    def forward(self, states: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the node and which earlier nodes it read, ``(len(states),)`` bool."""
        x, x_mask = self.x_input(states)
        y, y_mask = self.y_input(states)
        out: Tensor = fan_out(x, [self.x_op])[0] + fan_out(y, [self.y_op])[0]
        return out, x_mask | y_mask


def micro_candidates(c: int) -> dict[str, nn.Module]:
    """Returns the five operations of a cell."""
    return {
        "sepconv3x3": SepConv(c, 3),
        "sepconv5x5": SepConv(c, 5),
        "avgpool": avg_pool(c),
        "maxpool": max_pool(c),
        "identity": nn.Identity(),
    }


def _stem(c_in: int, c_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out))


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise OptionError(f"{name} must be positive, got {size}.")
