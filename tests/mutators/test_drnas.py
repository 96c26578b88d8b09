"""DrNAS: mixes are Dirichlet draws, their gradient is unbiased, and the anchor is the formula's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from nas_plugin.errors import OptionError
from nas_plugin.mutators import DrnasMutator
from tests.mutators.small_net import EVERY, VALID, SmallNet, prepared


def concentration(logits: Tensor) -> Tensor:
    return torch.where(logits > 0, logits, logits.exp() - 1) + 1


def test_draws_have_the_mean_and_variance_of_the_distribution() -> None:
    mutator = DrnasMutator(SmallNet(), scale=1.0)
    logits, _ = prepared(mutator)
    n = 4000
    with torch.no_grad():
        drawn = torch.stack([mutator.relax(mutator.alphas) for _ in range(n)])

    assert bool((drawn[:, ~VALID] == 0).all())
    assert torch.allclose(drawn.sum(dim=2), torch.ones(n, 3, dtype=torch.float64))
    for row, width in enumerate((3, 2, 2)):
        true = Dirichlet(concentration(logits.detach())[row, :width])
        found = drawn[:, row, :width]
        error = (true.variance / n).sqrt()
        assert bool(((found.mean(0) - true.mean).abs() < 5 * error).all())
        assert torch.allclose(found.var(0), true.variance, rtol=0.15)


def test_the_gradient_is_that_of_torchs_dirichlet_at_the_same_draw() -> None:
    net = SmallNet()
    mutator = DrnasMutator(net, scale=1.0)
    logits, _ = prepared(mutator)
    mutator.reset()
    drawn = [mutator.binding.decisions[k].mix for k in ("a", "b", "pick")]
    leaves = [m.detach().clone().requires_grad_() for m in drawn if m is not None]
    upstream = torch.autograd.grad(net.written_out(leaves, EVERY), leaves)
    found = torch.autograd.grad(net.loss(), mutator.alphas)[0]

    # torch's own backward pass of Dirichlet.rsample, at this draw.
    for row, (x, g) in enumerate(zip(leaves, upstream, strict=True)):
        leaf = logits[row, : len(x)].detach().clone().requires_grad_()
        c = concentration(leaf)
        total = c.detach().sum().expand_as(c).contiguous()
        speed = torch._dirichlet_grad(x.detach(), c.detach(), total)
        wanted = torch.autograd.grad(c, leaf, speed * (g - (x.detach() * g).sum()))[0]
        assert torch.allclose(found[row, : len(x)], wanted, rtol=1e-8)
    assert bool((found[VALID] != 0).all()) and bool((found[~VALID] == 0).all())


def test_the_expected_gradient_is_that_of_the_closed_form() -> None:
    # E x_0^2 of Dirichlet(c) is c_0 (c_0 + 1) / (C (C + 1)).
    mutator = DrnasMutator(SmallNet(), scale=0.7, seed=3)
    logits, _ = prepared(mutator)
    c = concentration(logits)[0]
    total = c.sum()
    exact = torch.autograd.grad(c[0] * (c[0] + 1) / (total * (total + 1)), logits)[0][0]
    draws = []
    for _ in range(3000):
        x = mutator.relax(mutator.alphas)
        draws.append(torch.autograd.grad(x[0, 0] ** 2, mutator.alphas)[0][0])
    found = torch.stack(draws)
    error = found.std(dim=0) / math.sqrt(len(draws))

    assert bool(((found.mean(dim=0) - exact).abs() < 5 * error).all())


def test_draws_survive_concentrations_near_0() -> None:
    mutator = DrnasMutator(SmallNet())
    with torch.no_grad():
        mutator.alphas.fill_(-30.0)
    x = mutator.relax(mutator.alphas)
    grad = torch.autograd.grad((x**2).sum(), mutator.alphas)[0]

    assert bool(x.isfinite().all()) and bool(grad.isfinite().all())


def test_the_anchors_are_their_formulas() -> None:
    kl = DrnasMutator(SmallNet(), scale=1.0, anchor="kl", anchor_weight=0.3)
    logits, _ = prepared(kl)
    c = concentration(logits)
    expected = 0.3 * sum(
        kl_divergence(Dirichlet(c[row, :n]), Dirichlet(torch.ones(n, dtype=torch.float64)))
        for row, n in enumerate((3, 2, 2))
    )
    found = kl.penalty({})
    assert found is not None and torch.allclose(found, expected, rtol=1e-10)  # type: ignore[arg-type]
    assert torch.allclose(
        torch.autograd.grad(found, kl.alphas)[0],
        torch.autograd.grad(expected, logits)[0],  # type: ignore[arg-type]
        rtol=1e-9,
        atol=1e-12,
    )
    l2 = DrnasMutator(SmallNet(), scale=1.0, anchor="l2", anchor_weight=0.3)
    logits, _ = prepared(l2)
    # The gradient of Adam's weight decay.
    found = l2.penalty({})
    assert found is not None
    assert torch.allclose(torch.autograd.grad(found, l2.alphas)[0], 0.3 * logits * VALID)
    assert DrnasMutator(SmallNet(), anchor="none").penalty({}) is None
    assert DrnasMutator(SmallNet(), anchor_weight=0.0).penalty({}) is None


def test_strengths_are_the_means_of_the_distributions() -> None:
    mutator = DrnasMutator(SmallNet(), scale=1.0)
    c = (F.elu(mutator.alphas.detach()) + 1)[0]
    assert list(mutator.status()["a"].values()) == pytest.approx((c / c.sum()).tolist())


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(OptionError, match="anchor must be one of l2, kl, none, got 'l1'"):
        DrnasMutator(SmallNet(), anchor="l1")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="anchor_weight must not be negative"):
        DrnasMutator(SmallNet(), anchor_weight=-1.0)
