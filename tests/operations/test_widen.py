"""Wider candidates give what narrow ones give, on inputs whose channels repeat."""

from __future__ import annotations

from collections.abc import Callable as Function

import pytest
import torch
from torch import nn

from nas_plugin.errors import OptionError
from nas_plugin.operations import FactorizedReduce, ReLUConvBN, SepConv, Zero, avg_pool, max_pool
from nas_plugin.operations.widen import repeated, widen

KINDS: dict[str, Function[[int], nn.Module]] = {
    "conv3x3": lambda c: ReLUConvBN(c, c, 3, affine=False),
    "conv1x1": lambda c: ReLUConvBN(c, c, 1),
    "separable": lambda c: SepConv(c, 3),
    "strided": lambda c: SepConv(c, 5, 2, affine=False),
    "reduction": lambda c: FactorizedReduce(c, c),
    "maxpool": lambda c: max_pool(c),
    "avgpool": lambda c: avg_pool(c, 2),
    "plain": lambda c: nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.Tanh()),
    "identity": lambda c: nn.Identity(),
    "zero": lambda c: Zero(),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_function_stays(kind: str, training: bool) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    old, new = KINDS[kind](4).double(), KINDS[kind](10).double()
    for module in (old, new):
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
    old.train(training)
    new.train(training)
    inputs = repeated(4, 10, generator)
    pairs, out = widen(old, new, inputs, generator)

    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    assert torch.allclose(new(x[:, inputs]), old(x)[:, out], atol=1e-12)
    assert {id(p.old) for p in pairs} == {id(p) for p in old.parameters()}
    assert {id(p.new) for p in pairs} == {id(p) for p in new.parameters()}
    assert all(p.gathered(torch.zeros_like(p.old)).shape == p.new.shape for p in pairs)


def test_the_first_channels_are_the_old_ones() -> None:
    found = repeated(3, 8, torch.Generator().manual_seed(0))
    assert found[:3].tolist() == [0, 1, 2] and set(found.tolist()) == {0, 1, 2}


def test_what_cannot_be_widened_is_named() -> None:
    with pytest.raises(OptionError, match="A LayerNorm cannot be widened"):
        widen(nn.LayerNorm(2), nn.LayerNorm(4), torch.tensor([0, 1, 0, 1]), torch.Generator())
    two = [nn.Conv2d(c, c, 1, groups=2) for c in (4, 8)]
    with pytest.raises(OptionError, match="of 2 groups"):
        widen(*two, torch.arange(8) % 4, torch.Generator())
