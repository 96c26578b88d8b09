"""The spaces of the sampled-path methods: sizes, wiring, scaling down."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import apply_fixed_architecture, search_space
from nas_plugin.errors import OptionError
from nas_plugin.mutators import RandomMutator
from nas_plugin.profiling import count_flops
from search_spaces.enas import enas_macro, enas_micro
from search_spaces.proxylessnas import proxylessnas
from search_spaces.spos import spos
from search_spaces.textnas import textnas

TINY_STAGES: dict[str, Any] = {"repeats": (2, 1), "channels": (8, 16), "small_images": True}


def image() -> Tensor:
    return torch.randn(2, 3, 8, 8)


def words() -> Tensor:
    ids = torch.randint(1, 20, (2, 7), generator=torch.Generator().manual_seed(0))
    ids[0, 3:] = 0
    return ids


SPACES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "enas_macro": (lambda: enas_macro(channels=4, layers=3, classes=5), image),
    "enas_micro": (lambda: enas_micro(channels=4, layers=3, nodes=2, classes=5), image),
    "spos": (lambda: spos(stem=4, last=8, classes=5, **TINY_STAGES), image),
    "proxylessnas": (
        lambda: proxylessnas(stem=4, first=4, last=8, strides=(1, 2), classes=5, **TINY_STAGES),
        image,
    ),
    "textnas": (
        lambda: textnas(vocabulary=20, embedding_size=6, width=8, layers=3, classes=5, heads=2),
        words,
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_tiny_supernet_runs_paths_as_their_fixed_children_do(name: str) -> None:
    make, inputs = SPACES[name]
    torch.manual_seed(0)
    model = make().eval()
    mutator = RandomMutator(model)
    x = inputs()
    for _ in range(3):
        architecture = mutator.export()
        mutator.use(architecture)
        expected = model(x)
        fixed = apply_fixed_architecture(copy.deepcopy(model), architecture)
        assert torch.equal(fixed(x), expected)
        assert expected.shape == (2, 5)


@pytest.mark.parametrize("name", SPACES)
def test_every_weight_of_a_child_gets_a_gradient(name: str) -> None:
    make, inputs = SPACES[name]
    model = make()
    child = apply_fixed_architecture(model, search_space(model).first())
    child(inputs()).sum().backward()

    assert not [n for n, p in child.named_parameters() if p.grad is None]


def test_published_sizes_of_the_spaces() -> None:
    with torch.device("meta"):
        assert search_space(spos()).size == 4**20
        # 21 blocks; the first of each of the six stages cannot be left out.
        assert search_space(proxylessnas()).size == 6**6 * 7**15
        assert search_space(proxylessnas(skip=False)).size == 6**21
        # 6 operations a layer, and any of the earlier layers: 6^12 * 2^66.
        assert search_space(enas_macro()).size == 6**12 * 2 ** (12 * 11 // 2)
        # Node i: twice an input of i and one of 5 operations, in two kinds of cells.
        one_cell = 1
        for node in range(2, 7):
            one_cell *= (5 * node) ** 2
        assert search_space(enas_micro()).size == one_cell**2
        # 8 operations, one of at most five inputs, any skips.
        size = 8**24 * 2 ** (24 * 23 // 2)
        for layer in range(1, 24):
            size *= min(layer, 5)
        assert search_space(textnas(vocabulary=10)).size == size


def test_the_imagenet_networks_have_about_the_papers_cost() -> None:
    with torch.device("meta"):
        image224 = torch.zeros(1, 3, 224, 224)
        model = spos()
        plain = apply_fixed_architecture(model, {k: "shuffle3" for k in search_space(model)})
        assert 280 < count_flops(plain, image224) / 2e6 < 330  # paper: at most 330 M
        model = proxylessnas()
        wide = apply_fixed_architecture(model, {k: "mb6_3x3" for k in search_space(model)})
        assert 400 < count_flops(wide, image224) / 2e6 < 700


def test_more_padding_changes_no_sentence() -> None:
    model = textnas(vocabulary=20, embedding_size=6, width=8, layers=3, heads=2).eval()
    mutator = RandomMutator(model)
    mutator.reset()
    ids = words()
    padded = torch.cat([ids, torch.zeros(2, 5, dtype=torch.long)], dim=1)

    assert torch.allclose(model(padded), model(ids))


def test_textnas_starts_from_a_given_embedding() -> None:
    table = torch.randn(20, 6)
    model = textnas(vocabulary=20, embedding=table, width=8, layers=1, heads=2)

    assert torch.equal(model.embedding.weight, table)
    assert model.embedding.weight.requires_grad
    with pytest.raises(OptionError, match="one row a token"):
        textnas(vocabulary=21, embedding=table)


def counter_file(layers: int) -> dict[str, list[bool]]:
    """An architecture as NNI 1.x wrote it: counters, booleans, blocks in order of construction."""

    def one_hot(n: int, i: int) -> list[bool]:
        return [j == i % n for j in range(n)]

    entries: list[tuple[str, list[bool]]] = []
    for i in range(layers):
        if i > 0:
            entries.append(("InputChoice", one_hot(min(i, 5), 3 * i)))
        entries.append(("LayerChoice", one_hot(8, 5 * i)))
        if i > 0:
            entries.append(("InputChoice", [(i + j) % 3 == 0 for j in range(i)]))
    return {f"{kind}{n}": value for n, (kind, value) in enumerate(entries, start=1)}


def test_the_24_layer_network_takes_a_step_and_loads_a_file_with_nnis_counters() -> None:
    torch.manual_seed(0)
    model = textnas(vocabulary=20, embedding_size=6, width=8, heads=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mutator = RandomMutator(model)
    mutator.reset()
    model(words()).square().sum().backward()
    optimizer.step()
    mutator.unbind(model)

    spelled = counter_file(24)
    assert len(spelled) == 70
    chosen = search_space(model).architecture(spelled)
    assert chosen["layer_3/op"] == "attention"  # number 15 % 8 = 7
    assert chosen["layer_7/input"] == ("layer_3",)  # number 21 % 5 = 1 of layers 2 to 6
    assert chosen["layer_2/skip"] == ("layer_1",)
    assert apply_fixed_architecture(model, spelled)(words()).shape == (2, 2)
