"""PC-DARTS: edges have logits that are mixed, learn, and rank; blocks must be partial."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from nas_plugin import Cell, DartsMutator, spaces
from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.mutators import (
    FbnetMutator,
    GdasMutator,
    PcDartsMutator,
    ProxylessMutator,
    XnasMutator,
)
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.space.narrow import narrowed
from nas_plugin.testing import smooth_net
from search_spaces.darts import darts
from search_spaces.enas import enas_macro


def cell() -> nn.ModuleList:
    ops = {"tanh": nn.Tanh, "skip": nn.Identity}
    return nn.ModuleList(
        [Cell("c", lambda n, s: {name: op() for name, op in ops.items()}, n_nodes=2, output="last")]
    )


def test_the_output_and_both_gradients_are_those_written_out() -> None:
    model = cell()
    mutator = PcDartsMutator(model, scale=1.0, partial=1).double()
    mutator.reset()
    x, y = torch.randn(2, 3, 2, 2, 2, dtype=torch.float64).unbind(0)
    assert mutator.betas is not None
    found = model[0](x, y)

    def edge(row: int, value: torch.Tensor) -> torch.Tensor:
        p = mutator.alphas[row].softmax(0)
        return p[0] * value.tanh() + p[1] * value

    b2, b3 = mutator.betas[0, :2].softmax(0), mutator.betas[1].softmax(0)
    z = b2[0] * edge(0, x) + b2[1] * edge(1, y)
    wanted = b3[0] * edge(2, x) + b3[1] * edge(3, y) + b3[2] * edge(4, z)

    assert mutator.edge_rows == ["c_n2_switch", "c_n3_switch"]
    assert torch.allclose(found, wanted, rtol=1e-12)
    wrt = [mutator.alphas, mutator.betas]
    for a, b in zip(
        torch.autograd.grad(found.square().sum(), wrt),
        torch.autograd.grad(wanted.square().sum(), wrt),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-10)
    mutator.reset()
    grad = torch.autograd.grad(model[0](x, y).square().sum(), mutator.betas)[0]
    assert bool((grad[0, :2] != 0).all()) and float(grad[0, 2]) == 0 and bool((grad[1] != 0).all())


def test_an_edge_is_ranked_by_beta_times_its_strength() -> None:
    mutator = PcDartsMutator(cell(), partial=1)
    assert mutator.betas is not None
    with torch.no_grad():
        # Edge 0 is the least decided, and has the largest beta.
        mutator.alphas.copy_(torch.tensor([[0.0, 0.0]] * 2 + [[0.1, 0.0], [3, 0], [3, 0]]))
        mutator.betas.zero_()
        assert mutator.export()["c_n3_switch"] == ("c_n3_p1", "c_n3_p2")
        mutator.betas[1] = torch.tensor([3.0, 0.0, 1.0])
    assert mutator.export()["c_n3_switch"] == ("c_n3_p0", "c_n3_p2")
    beta = torch.tensor([3.0, 0.0, 1.0]).softmax(0)
    assert list(mutator.status()["c_n3_switch"].values()) == pytest.approx(beta.tolist())
    # The status of a candidate is not scaled.
    assert sum(mutator.status()["c_n3_p0"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize("made", [DartsMutator, GdasMutator, FbnetMutator])
def test_betas_combine_with_any_mix_and_are_saved(made: type[DifferentiableMutator]) -> None:
    model = smooth_net()
    mutator = made(model)
    mutator.add_betas()
    assert mutator.betas is not None
    mutator.reset()
    out = model(torch.randn(2, 1, 4, 4))
    grad = torch.autograd.grad(out.sum(), mutator.betas)[0]
    assert bool((grad[:, :2] != 0).all())
    buffer = io.BytesIO()
    torch.save(mutator.state_dict(), buffer)
    buffer.seek(0)
    again = made(smooth_net(), seed=1)
    again.add_betas()
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert again.betas is not None and torch.equal(again.betas, mutator.betas)
    with torch.no_grad():
        mutator.reset()
    assert not any(d.mix is not None and d.mix.requires_grad
                   for d in mutator.binding.decisions.values())  # fmt: skip


def test_a_space_without_edges_has_no_betas() -> None:
    mutator = DartsMutator(spaces.get("nasbench201")(channels=4, cells=1))
    mutator.add_betas()
    assert mutator.betas is None and mutator.edge_rows == []


@pytest.mark.parametrize("made", [XnasMutator, ProxylessMutator])
def test_mutators_without_mixed_edges_refuse_betas(made: type[DifferentiableMutator]) -> None:
    with pytest.raises(OptionError, match="edge normalisation cannot be combined"):
        made(smooth_net()).add_betas()


def test_the_method_builds_its_space_narrower_or_says_which_spaces_can() -> None:
    model = PcDartsMutator.transform(darts)(channels=8, layers=3)
    assert isinstance(PcDartsMutator(model).betas, nn.Parameter)
    with pytest.raises(OptionError, match=r"blocks have partial=\[1\]. Build it with partial=4"):
        PcDartsMutator(darts(channels=8, layers=3))
    with pytest.raises(SpaceError, match=r"'enas_macro' cannot be built narrower.*darts.*nasbench"):
        PcDartsMutator.transform(enas_macro)
    assert narrowed(enas_macro, 1) is enas_macro
    assert DartsMutator.transform(darts) is darts
    with pytest.raises(OptionError, match="partial must be at least 1"):
        narrowed(darts, 0)
