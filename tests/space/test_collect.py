"""The space of a model against the networks that really come out of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin import (
    Cell,
    InputChoice,
    LayerChoice,
    MutableScope,
    Repeat,
    ValueChoice,
    apply_fixed_architecture,
    build,
    search_space,
)
from nas_plugin.errors import ArchitectureError, SpaceError
from nas_plugin.operations import Zero


def two(key: str | None = None) -> LayerChoice:
    return LayerChoice([nn.Tanh(), nn.ReLU()], key=key)


def nested() -> nn.Module:
    deep = nn.Sequential(two(), LayerChoice({"p": nn.Sequential(two()), "q": nn.Identity()}))
    return nn.Sequential(LayerChoice({"deep": deep, "flat": nn.Identity()}), two("k"))


def shared() -> nn.Module:
    # The choice "k" matters below either of two candidates.
    return nn.ModuleList(
        [
            LayerChoice([two("k"), nn.Identity()]),
            LayerChoice([nn.Identity(), nn.Sequential(two("k")), nn.Tanh()]),
        ]
    )


def deep() -> nn.Module:
    return nn.Sequential(Repeat(lambda _: two(), (0, 3)), InputChoice(2))


def cell() -> nn.Module:
    def edge(node: int, source: int) -> dict[str, nn.Module]:
        return {"none": Zero(), "a": nn.Tanh(), "b": nn.ReLU()}

    return nn.ModuleList([Cell("c", edge, n_nodes=2, n_inputs=1, n_chosen=1) for _ in range(2)])


def scopes() -> nn.Module:
    def scope(key: str) -> MutableScope:
        made = MutableScope(key)
        made.add_module("block", two())
        return made

    return nn.ModuleList([scope("s"), scope("s"), scope("t")])


def picture(model: nn.Module) -> str:
    """Describes what is left of a model; equal networks look equal."""
    return repr(model)


@pytest.mark.parametrize(
    ("factory", "size"),
    [
        (nested, (1 + 2 * (2 + 1)) * 2),
        # 2 x 3 pairs, of which one does without "k".
        (shared, 3 * 2 + 1 * 2 + 2 * 1),
        (deep, (1 + 2 + 4 + 8) * 4),
        # Node 1 has one edge, node 2 one of two; two operations are kept.
        (cell, 2 * (2 * 2)),
        (scopes, 2 * 2),
    ],
)
def test_the_size_counts_the_networks_that_fixing_makes(
    factory: Callable[[], nn.Module], size: int
) -> None:
    space = search_space(factory())
    every = [[(key, value) for value in choice.values()] for key, choice in space.items()]
    by_brute_force = {
        picture(apply_fixed_architecture(factory(), dict(spelled)))
        for spelled in itertools.product(*every)
    }
    by_enumeration = [picture(apply_fixed_architecture(factory(), a)) for a in space.enumerate()]

    assert space.size == len(by_enumeration) == size
    assert len(set(by_enumeration)) == size
    assert set(by_enumeration) == by_brute_force


def test_the_order_is_that_of_construction() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, second = two(), two()
            self.z, self.a = first, second
            self.add_module("b", two())

    class Swapped(Net):
        def __init__(self) -> None:
            super().__init__()
            modules = dict(reversed(self._modules.items()))
            self._modules.clear()
            self._modules.update(modules)

    assert list(search_space(Net())) == list(search_space(Swapped())) == ["z", "a", "b"]


def test_values_and_blocks_form_one_space() -> None:
    def net() -> nn.Module:
        kernel = ValueChoice([3, 5], key="kernel")
        return nn.Sequential(nn.Conv2d(1, 2, kernel), two("act"))

    space = search_space(net)

    assert [(c.key, c.kind) for c in space.values()] == [("kernel", "value"), ("act", "layer")]
    for architecture in space.enumerate():
        made = build(net, architecture)
        assert made[0].kernel_size == (architecture["kernel"],) * 2
        assert type(made[1]) is {"0": nn.Tanh, "1": nn.ReLU}[str(architecture["act"])]


def test_a_key_of_a_value_and_of_a_block_is_refused() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(2, ValueChoice([3, 5], key="1")), two())

    with pytest.raises(SpaceError, match="'1' belongs to a ValueChoice and to the block '1'"):
        search_space(net)


def test_a_factory_that_makes_no_model_is_refused() -> None:
    with pytest.raises(SpaceError, match="must return a torch module"):
        search_space(lambda: torch.ones(1))  # type: ignore[arg-type, return-value]
    with pytest.raises(SpaceError, match="module or a factory of one; got 3"):
        search_space(3)  # type: ignore[arg-type]


def test_a_wrong_spelling_leaves_the_model_as_it_was() -> None:
    model = nested()
    before = picture(model)
    wrong: list[tuple[Any, str]] = [
        ({}, "lacks the key"),
        ({"0": "flat", "k": "2"}, "'k' cannot be '2'"),
        ({"0": "flat", "k": "0", "z": 1}, "'z', which the search space does not know"),
        ({"0": "deep", "k": "0"}, "lacks the key '0/deep/0'"),
        ({"0": "flat", 1: "0"}, "maps keys, which are strings"),
        (["flat"], "a mapping from keys to choices, or the path of a file"),
        (None, "a mapping from keys to choices, or the path of a file"),
    ]
    for spelled, message in wrong:
        with pytest.raises(ArchitectureError, match=message):
            apply_fixed_architecture(model, spelled)

    assert picture(model) == before
