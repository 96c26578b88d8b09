"""Partial channels: candidates see the first C / k, the others pass by, and all are shuffled."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import Cell, DartsMutator, InputChoice, LayerChoice, apply_fixed_architecture
from nas_plugin.errors import ChoiceError


def written_out(x: Tensor, mixed: Tensor, k: int) -> Tensor:
    """What PC-DARTS computes, channel by channel: output channel ``i * k + g`` is ``g * c + i``."""
    rest = x[:, x.shape[1] // k :]
    if mixed.shape[2:] != rest.shape[2:]:
        rest = torch.stack(
            [rest[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        ).amax(dim=0)  # fmt: skip
    both = torch.cat([mixed, rest], dim=1)
    c = x.shape[1] // k
    return torch.stack([both[:, g * c + i] for i in range(c) for g in range(k)], dim=1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [2, 4])
def test_the_output_and_its_gradient_are_those_written_out(k: int, stride: int) -> None:
    torch.manual_seed(0)
    c = 8 // k
    ops = [nn.Conv2d(c, c, 3, stride, 1), nn.AvgPool2d(1, stride)]
    block = LayerChoice(ops, key="k", partial=k).double()
    mutator = DartsMutator(block, scale=1.0).double()
    mutator.reset()
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64, requires_grad=True)
    p = mutator.alphas[0].softmax(0)
    expected = written_out(x, p[0] * ops[0](x[:, :c]) + p[1] * ops[1](x[:, :c]), k)

    assert torch.allclose(block(x), expected, rtol=1e-12)
    wrt = [x, mutator.alphas, *ops[0].parameters()]
    weight = torch.randn_like(expected)
    for found, wanted in zip(
        torch.autograd.grad((block(x) * weight).sum(), wrt),
        torch.autograd.grad((expected * weight).sum(), wrt),
        strict=True,
    ):
        assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_a_fixed_block_computes_what_the_supernet_computed() -> None:
    torch.manual_seed(0)
    block = LayerChoice({"conv": nn.Conv2d(2, 2, 1), "tanh": nn.Tanh()}, key="k", partial=2)
    mutator = DartsMutator(block)
    mutator.use({"k": "conv"})
    x = torch.randn(2, 4, 3, 3)
    expected = block(x)
    fixed = apply_fixed_architecture(copy.deepcopy(block), {"k": "conv"})

    assert torch.equal(fixed(x), expected)
    assert "tanh" not in dict(fixed.named_modules())


def test_candidates_that_write_in_place_do_not_change_what_passes_by() -> None:
    block = LayerChoice([nn.ReLU(inplace=True), nn.Tanh()], key="k", partial=2)
    mutator = DartsMutator(block)
    for architecture in ({"k": "0"}, {"k": "1"}):
        mutator.use(architecture)
        x = torch.randn(2, 4, 2, 2, requires_grad=True)
        before = x.detach().clone()
        block(x * 1.0).sum().backward()
        block(x.detach())
        assert torch.equal(x, before)


def test_widths_that_do_not_divide_and_blocks_that_cannot_be_partial_are_refused() -> None:
    block = LayerChoice([nn.Identity(), nn.Tanh()], key="k", partial=4)
    DartsMutator(block).reset()
    with pytest.raises(ChoiceError, match=r"C is a multiple of 4, got \(2, 6, 3, 3\)"):
        block(torch.ones(2, 6, 3, 3))
    with pytest.raises(ChoiceError, match="partial is a whole number from 1, got 0"):
        LayerChoice([nn.Identity()], partial=0)
    with pytest.raises(ChoiceError, match="partial channels need one output"):
        LayerChoice([nn.Identity()], partial=2, reduction="concat")


def test_a_cell_hands_its_part_to_every_edge() -> None:
    cell = Cell("c", lambda n, s: {"conv": nn.Conv2d(1, 1, 1)}, n_nodes=2, partial=4)
    assert {edge.partial for edge in cell.edges.values()} == {4}
    assert all(isinstance(switch, InputChoice) for switch in cell.switches.values())
