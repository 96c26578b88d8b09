"""A fixed network holds nothing that its output does not depend on."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import RandomMutator, apply_fixed_architecture, search_space
from nas_plugin.choice import Cell
from search_spaces.darts import darts
from search_spaces.enas import enas_macro, enas_micro
from search_spaces.proxylessnas import proxylessnas
from search_spaces.spos import spos
from search_spaces.textnas import textnas

Net = Callable[[], nn.Module]
STAGES = {"classes": 5, "repeats": (2, 2), "channels": (8, 16), "last": 16, "small_images": True}


class Chain(nn.Module):
    """Cells whose nodes read one of the earlier nodes, the last one alone being the output."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList(
            Cell(
                "c",
                lambda *_: {"conv": nn.Conv2d(3, 3, 1), "skip": nn.Identity()},
                n_nodes=4,
                n_chosen=1,
                preprocess=[nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)],
                output="last",
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        for cell in self.cells:
            x = cell(x, x)
        return x


IMAGES: dict[str, Net] = {
    "cells": Chain,
    "darts": lambda: darts(channels=4, layers=3),
    "enas_macro": lambda: enas_macro(channels=4, layers=6),
    "enas_micro": lambda: enas_micro(channels=4, layers=3, auxiliary=True),
    "proxylessnas": lambda: proxylessnas(stem=8, first=8, strides=(1, 2), **STAGES),  # type: ignore[arg-type]
    "spos": lambda: spos(stem=4, **STAGES),  # type: ignore[arg-type]
}


def unread(net: nn.Module, x: Tensor) -> list[str]:
    """Returns the parameters that get no gradient."""
    outs = net.train()(x)
    sum(out.sum() for out in (outs if isinstance(outs, tuple) else (outs,))).backward()
    return [name for name, param in net.named_parameters() if param.grad is None]


@pytest.mark.parametrize("name", IMAGES)
def test_every_parameter_reaches_the_output(name: str) -> None:
    torch.manual_seed(0)
    for seed in range(3):
        net = IMAGES[name]()
        apply_fixed_architecture(net, search_space(net).sample(Random(seed)))
        assert not unread(net, torch.randn(2, 3, 8, 8))


def test_every_parameter_of_a_text_network_reaches_the_output() -> None:
    for seed in range(3):
        net = textnas(vocabulary=9, embedding_size=8, width=8, layers=6)
        apply_fixed_architecture(net, search_space(net).sample(Random(seed)))
        assert not unread(net, torch.randint(1, 9, (4, 7)))


@pytest.mark.parametrize("name", ["cells", "enas_macro", "enas_micro"])
def test_the_output_is_the_one_of_the_path(name: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        net = IMAGES[name]().eval()
        mutator = RandomMutator(net, seed=seed)
        architecture = mutator.export()
        mutator.use(architecture)
        x = torch.randn(2, 3, 8, 8)
        expected = net(x)
        fixed = apply_fixed_architecture(net, architecture)

        assert torch.equal(fixed(x), expected)


def test_parameters_of_a_fixed_micro_network_counted_by_hand() -> None:
    net = enas_micro(channels=2, layers=3, nodes=2, classes=3, in_channels=1)
    architecture = {}
    for kind in ("normal", "reduce"):
        for node, source in (("2", "0"), ("3", "2")):
            key = f"{kind}_node_{node}"
            for side in "xy":
                architecture[f"{key}/{side}_input"] = [f"{kind}_node_{source}"]
                architecture[f"{key}/{side}_op"] = "identity"
    fixed = apply_fixed_architecture(net, architecture)

    # Node 3 reads 2, which reads 0: nodes 1 and 3 are joined, each by a convolution of c * c.
    stem = 1 * 6 * 9 + 2 * 6
    c_in = [(6, 6), (6, 2), (2, 4), (4, 4), (4, 8)]
    cells = 0
    for (before, last), c in zip(c_in, (2, 4, 4, 8, 8), strict=True):
        adapt = before * c + last * c + 2 * (2 * c)  # a convolution 1x1 and its norm each
        cells += adapt + 2 * c * c + 2 * c
    assert sum(p.numel() for p in fixed.parameters()) == stem + cells + 8 * 3 + 3


def test_reductions_of_a_macro_network_are_kept_where_they_are_read() -> None:
    def kept(skips: dict[str, list[str]]) -> list[list[int]]:
        net = enas_macro(channels=2, layers=6, classes=3)
        space = search_space(net)
        architecture = {
            key: "avgpool" if choice.kind == "layer" else skips.get(key, [])
            for key, choice in space.items()
        }
        fixed = apply_fixed_architecture(net, architecture)
        return [
            [i for i, one in enumerate(reduction.each) if any(True for _ in one.parameters())]
            for reduction in fixed.reductions.values()
        ]

    # Layers 1 and 3 are followed by a reduction; the layer after reads the one before it.
    assert kept({}) == [[1], [3]]
    assert kept({"layer_1/skip": ["layer_0"]}) == [[1], [3]]
    assert kept({"layer_2/skip": ["layer_0"]}) == [[0, 1], [3]]
    assert kept({"layer_5/skip": ["layer_0", "layer_2"]}) == [[0, 1], [0, 2, 3]]
