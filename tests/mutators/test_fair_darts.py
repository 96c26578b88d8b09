"""FairDARTS: sigmoids that do not compete, and a loss that pushes them to 0 or 1."""

from __future__ import annotations

import pytest
import torch

from nas_plugin.errors import OptionError
from nas_plugin.mutators import FairDartsMutator
from tests.mutators.small_net import EVERY, VALID, SmallNet, compared, prepared


def test_coefficients_and_gradient_are_those_of_the_formula() -> None:
    net = SmallNet()
    mutator = FairDartsMutator(net, scale=1.0)
    logits, _ = prepared(mutator)
    mutator.reset()

    mixes = 1 / (1 + torch.exp(-logits)) * VALID
    compared(net, mutator, net.written_out(tuple(mixes), EVERY), logits)


@pytest.mark.parametrize("form", ["l2", "l1"])
def test_the_zero_one_loss_is_the_formula_and_has_its_gradient(form: str) -> None:
    mutator = FairDartsMutator(SmallNet(), scale=1.0, zero_one=form, zero_one_weight=7.0)  # type: ignore[arg-type]
    logits, _ = prepared(mutator)
    apart = (1 / (1 + torch.exp(-logits[VALID])) - 0.5).abs()
    expected = -7.0 * (apart**2 if form == "l2" else apart).sum() / 7
    found = mutator.penalty({})

    assert found is not None and torch.allclose(found, expected, rtol=1e-12)
    assert torch.allclose(
        torch.autograd.grad(found, mutator.alphas)[0],
        torch.autograd.grad(expected, logits)[0],
        rtol=1e-12,
    )
    # Steps against the gradient move every coefficient away from 1/2.
    step = -torch.autograd.grad(mutator.penalty({}), mutator.alphas)[0]  # type: ignore[arg-type]
    assert bool((step[VALID] * mutator.alphas.detach()[VALID] > 0).all())


def test_a_weight_of_0_leaves_the_loss_out_and_a_wrong_argument_is_refused() -> None:
    assert FairDartsMutator(SmallNet(), zero_one_weight=0.0).penalty({}) is None
    with pytest.raises(OptionError, match="zero_one must be one of l2, l1, got 'l3'"):
        FairDartsMutator(SmallNet(), zero_one="l3")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="must not be negative"):
        FairDartsMutator(SmallNet(), zero_one_weight=-1.0)


def test_candidates_may_all_be_strong() -> None:
    mutator = FairDartsMutator(SmallNet())
    with torch.no_grad():
        mutator.alphas.fill_(3.0)
    assert sum(mutator.status()["a"].values()) > 2.8
