"""The DARTS space: the figures of the paper and of its authors' code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_plugin import DartsMutator, RandomMutator, apply_fixed_architecture, search_space, spaces
from nas_plugin.errors import OptionError, UnknownNameError
from nas_plugin.files import read_json
from nas_plugin.operations import DropPath, set_drop_path
from nas_plugin.profiling import count_flops, count_params
from search_spaces.darts import (
    AuxiliaryHead,
    DartsNet,
    architecture_file,
    candidates,
    darts,
    darts_retrain,
)

# The cells as the authors list them: (operation, source), two a node.
PUBLISHED = {
    "darts_v1": {
        "normal": "sep3 1 sep3 0 skip 0 sep3 1 skip 0 sep3 1 sep3 0 skip 2",
        "reduce": "max 0 max 1 skip 2 max 0 max 0 skip 2 skip 2 avg 0",
    },
    "darts_v2": {
        "normal": "sep3 0 sep3 1 sep3 0 sep3 1 sep3 1 skip 0 skip 0 dil3 2",
        "reduce": "max 0 max 1 skip 2 max 1 max 0 skip 2 skip 2 max 1",
    },
}
NAMES = {
    "sep3": "sepconv3x3", "dil3": "dilconv3x3", "skip": "skipconnect", "max": "maxpool",
    "avg": "avgpool",
}  # fmt: skip


def small(**options: int) -> DartsNet:
    torch.manual_seed(0)
    return darts(**{"channels": 4, "layers": 3, "nodes": 2, "in_channels": 1, **options})


def small_fixed(auxiliary: bool = False) -> DartsNet:
    torch.manual_seed(0)
    net = darts_retrain(channels=4, layers=3, in_channels=1, auxiliary=auxiliary)
    apply_fixed_architecture(net, architecture_file("darts_v2"))
    return net


def test_the_supernet_has_the_weights_and_logits_of_the_paper() -> None:
    with torch.device("meta"):
        net = darts()

    assert count_params(net) == 1_930_618
    space = search_space(net)
    edges = [choice for choice in space.values() if choice.kind == "layer"]
    assert len(edges) == 2 * 14 and all(len(edge.candidates) == 8 for edge in edges)
    # Two of node j's j edges, seven operations on each, four nodes, two cells.
    assert space.size == ((1 * 3 * 6 * 10) * 7**8) ** 2


def test_one_row_of_logits_an_edge() -> None:
    assert DartsMutator(small(nodes=4)).alphas.shape == (28, 8)


def published() -> nn.Module:
    with torch.device("meta"):
        net = darts_retrain(auxiliary=False)
        return apply_fixed_architecture(net, architecture_file("darts_v2"))


def test_the_published_cell_retrains_at_the_published_size() -> None:
    assert count_params(published()) == 3_349_342


@pytest.mark.slow
def test_the_published_cell_costs_what_papers_quote() -> None:
    # 528 million multiply-adds on CIFAR-10.
    assert round(count_flops(published(), torch.empty(1, 3, 32, 32, device="meta")) / 2e6) == 528


@pytest.mark.parametrize("name", PUBLISHED)
def test_architecture_files_hold_the_published_cells(name: str) -> None:
    found = read_json(architecture_file(name))
    for cell, genotype in PUBLISHED[name].items():
        words = genotype.split()
        pairs = list(zip(words[::2], map(int, words[1::2]), strict=True))
        for node in range(2, 6):
            mine = pairs[2 * (node - 2) : 2 * (node - 1)]
            for operation, source in mine:
                assert found.pop(f"{cell}_n{node}_p{source}") == NAMES[operation]
            expected = sorted(f"{cell}_n{node}_p{source}" for _, source in mine)
            assert found.pop(f"{cell}_n{node}_switch") == expected
    assert not found


def test_files_of_unknown_cells_are_refused_with_the_known() -> None:
    with pytest.raises(OptionError, match="'darts_v3'; known: darts_v1, darts_v2"):
        architecture_file("darts_v3")


def test_the_supernet_computes_the_equations_of_the_paper() -> None:
    net = small(nodes=3).double()
    mutator = DartsMutator(net, scale=1.0).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    rows = dict(zip(mutator.rows, mutator.alphas, strict=True))

    before_last = last = net.stem(x)
    for kind, cell in zip(("normal", "reduce", "reduce"), net.cells, strict=True):
        states = [cell.preprocess[0](before_last), cell.preprocess[1](last)]
        for j in range(2, 5):
            node = torch.zeros((), dtype=torch.float64)
            for i in range(j):
                alpha = rows[f"{kind}_n{j}_p{i}"]
                for weight, operation in zip(
                    alpha.exp() / alpha.exp().sum(), cell.edges[f"n{j}_p{i}"], strict=True
                ):
                    node = node + weight * operation(states[i])
            states.append(node)
        before_last, last = last, torch.cat(states[2:], dim=1)
    expected = net.classifier(last.mean(dim=(2, 3)))

    mutator.reset()
    found = net(x)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)
    wanted = [mutator.alphas, *net.parameters()]
    by_hand = torch.autograd.grad(expected.square().sum(), wanted)
    for mine, truth in zip(torch.autograd.grad(found.square().sum(), wanted), by_hand, strict=True):
        assert torch.allclose(mine, truth, rtol=1e-7, atol=1e-9)


def test_digits_of_eight_by_eight_fit() -> None:
    net = small(classes=7)
    DartsMutator(net).reset()

    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 7)


def test_any_architecture_makes_the_same_network_with_other_parts() -> None:
    net = small()
    architecture = RandomMutator(net, seed=1).export()
    plain = apply_fixed_architecture(net, architecture)

    assert plain(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert search_space(small()).architecture(architecture) == architecture


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("stride", "size"), [(1, 7), (2, 7), (2, 8)])
def test_all_candidates_of_an_edge_give_one_shape(stride: int, size: int, affine: bool) -> None:
    x = torch.randn(2, 4, size, size)
    half = -(-size // stride)

    for name, operation in candidates(4, stride, affine=affine).items():
        assert operation(x).shape == (2, 4, half, half), name


def test_only_the_search_norms_without_weights() -> None:
    def affine(net: nn.Module) -> set[bool]:
        cells = [m for cell in net.cells for m in cell.modules()]  # type: ignore[union-attr]
        return {m.affine for m in cells if isinstance(m, nn.BatchNorm2d)}

    assert affine(small()) == {False}
    assert affine(small_fixed()) == {True}


def test_drop_path_is_on_all_but_identities() -> None:
    net = small_fixed()
    found = [sum(isinstance(m, DropPath) for m in cell.modules()) for cell in net.cells]

    # Of eight edges: two skips in the normal cell, three of stride 1 in the reduction cells.
    assert found == [6, 5, 5]
    x = torch.randn(4, 1, 8, 8)
    set_drop_path(net, 0.5)
    assert torch.equal(net.eval()(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


def test_the_auxiliary_head_answers_in_training_only() -> None:
    net = small_fixed(auxiliary=True)
    x = torch.randn(2, 1, 8, 8)

    logits, extra = net(x)
    assert logits.shape == extra.shape == (2, 10)
    assert net.eval()(x).shape == (2, 10)
    assert count_params(net) - count_params(small_fixed()) == count_params(net.auxiliary)


def test_the_auxiliary_head_pools_as_the_authors_do_on_their_maps() -> None:
    pool = AuxiliaryHead(3, 10).features[1]
    x = torch.randn(2, 3, 8, 8)
    windows = [[x[:, :, i : i + 5, j : j + 5].mean(dim=(2, 3)) for j in (0, 3)] for i in (0, 3)]
    expected = torch.stack([torch.stack(row, dim=-1) for row in windows], dim=-2)

    assert torch.allclose(pool(x), expected, atol=1e-6)
    assert pool(torch.randn(2, 3, 2, 2)).shape == (2, 3, 2, 2)


def test_sizes_must_be_positive() -> None:
    with pytest.raises(OptionError, match="must be positive"):
        darts(channels=0)
    with pytest.raises(OptionError, match="at least 3 layers"):
        darts_retrain(layers=2, channels=2)
    assert darts_retrain(layers=2, channels=2, auxiliary=False).auxiliary is None


def test_the_space_is_found_by_name() -> None:
    assert spaces.get("darts") is darts
    with pytest.raises(UnknownNameError, match="Unknown search space 'dart'.*Did you mean 'darts'"):
        spaces.get("dart")
