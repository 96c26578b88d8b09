"""ReinMax: its gradient is the authors' formula, and exact in expectation up to third order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators import ReinmaxMutator
from nas_plugin.mutators.reinmax import reinmax
from tests.mutators.small_net import VALID, SmallNet, prepared, softmax


def gradient(logits: Tensor, drawn: Tensor, upstream: Tensor, tau: float) -> Tensor:
    """The paper's estimator written out with Jacobians of softmaxes."""
    p0 = softmax(logits)
    p1 = (drawn + softmax(logits / tau)) / 2

    def jacobian(p: Tensor, g: Tensor) -> Tensor:
        return p * (g - (p * g).sum(dim=1, keepdim=True))

    return 2 * jacobian(p1, upstream) - jacobian(p0, upstream) / 2


@pytest.mark.parametrize("tau", [1.0, 2.5])
def test_coefficients_and_gradient_are_those_of_the_formula(tau: float) -> None:
    net = SmallNet()
    mutator = ReinmaxMutator(net, scale=1.0, tau=tau)
    logits, generator = prepared(mutator)
    mutator.reset()
    chosen = torch.multinomial(softmax(logits.detach()), 1, generator=generator)
    drawn = torch.zeros(3, 3, dtype=torch.float64).scatter(1, chosen, 1.0).requires_grad_()

    every = ((0, 1, 2), (0, 1), (0, 1))
    expected = net.written_out(tuple(drawn), every)
    upstream = torch.autograd.grad(expected, drawn)[0]
    found = torch.autograd.grad(net.loss(), mutator.alphas)[0]
    wanted = gradient(logits.detach(), drawn.detach(), upstream, tau)
    assert torch.allclose(net.loss(), expected, rtol=1e-12)
    assert torch.allclose(found, wanted * VALID, rtol=1e-9, atol=1e-12)
    assert bool((found[:2][VALID[:2]] != 0).all())


def test_candidates_that_were_not_drawn_run_for_the_logits_only() -> None:
    net = SmallNet()
    mutator = ReinmaxMutator(net, scale=1.0).double()
    mutator.reset()
    loss = net.loss()
    scales = [m.by for m in net.modules() if hasattr(m, "by")]
    reached = [g is not None for g in torch.autograd.grad(loss, scales, allow_unused=True)]  # type: ignore[arg-type]
    assert net.ran == [1, 1, 1, 1, 1] and sum(reached[:3]) == 1

    with torch.no_grad():
        mutator.reset()
    net.loss()
    assert sum(net.ran[:3]) == 4 and sum(net.ran[3:]) == 3


def test_drawn_only_runs_one_candidate_and_takes_other_derivatives_for_0() -> None:
    net = SmallNet()
    mutator = ReinmaxMutator(net, scale=1.0, drawn_only=True)
    logits, generator = prepared(mutator)
    mutator.reset()
    chosen = torch.multinomial(softmax(logits.detach()), 1, generator=generator)
    drawn = torch.zeros(3, 3, dtype=torch.float64).scatter(1, chosen, 1.0).requires_grad_()
    expected = net.written_out(tuple(drawn), chosen.tolist())
    upstream = torch.autograd.grad(expected, drawn)[0]

    found = torch.autograd.grad(net.loss(), mutator.alphas)[0]
    wanted = gradient(logits.detach(), drawn.detach(), upstream, 1.0)
    assert torch.allclose(found, wanted * VALID, rtol=1e-9, atol=1e-12)
    assert sum(net.ran[:3]) == 1


def expected_estimate(logits: Tensor, f: Tensor, second_order: bool) -> Tensor:
    """The expectation over all draws of the estimated gradient of E f(D), by enumeration.

    f is a polynomial of the one-hot D: ``f(D) = a . D + (b . D)^2``.
    """
    a, b = f
    total = torch.zeros_like(logits)
    p = logits.softmax(dim=1)[0]
    for k in range(logits.shape[1]):
        leaf = logits.clone().requires_grad_()
        one_hot = torch.zeros_like(logits)
        one_hot[0, k] = 1.0
        soft = leaf.softmax(dim=1)
        mix = reinmax(leaf, one_hot) if second_order else one_hot + (soft - soft.detach())
        value = (a * mix).sum() + (b * mix).sum() ** 2
        total += p[k] * torch.autograd.grad(value, leaf)[0]
    return total


def test_the_expected_gradient_is_exact_for_quadratic_functions_unlike_straight_through() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        logits = torch.randn(1, 5, dtype=torch.float64, generator=generator)
        f = torch.randn(2, 5, dtype=torch.float64, generator=generator)
        leaf = logits.clone().requires_grad_()
        values = f[0] + f[1] ** 2  # f at each one-hot
        exact = torch.autograd.grad((leaf.softmax(dim=1)[0] * values).sum(), leaf)[0]

        assert torch.allclose(expected_estimate(logits, f, True), exact, rtol=1e-9, atol=1e-12)
        assert float((expected_estimate(logits, f, False) - exact).abs().max()) > 1e-2


def test_draws_follow_the_softmax() -> None:
    mutator = ReinmaxMutator(SmallNet(), scale=1.0)
    logits, _ = prepared(mutator)
    n = 4000
    with torch.no_grad():
        share = torch.stack([mutator.relax(mutator.alphas) for _ in range(n)]).mean(dim=0)
    assert float((share - softmax(logits.detach())).abs().max()) < 5 * 0.5 / math.sqrt(n)


def test_several_inputs_are_drawn_and_carry_the_gradient_of_their_probabilities() -> None:
    block = InputChoice(4, n_chosen=2, key="two")
    mutator = ReinmaxMutator(block, scale=1.0).double()
    mutator.reset()
    decision = mutator.binding.decisions["two"]
    assert decision.mix is not None and float(decision.mix.detach().sum()) == 2.0
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    found = torch.autograd.grad(block(list(values)), mutator.alphas)[0][0]

    # The probability of each input, by enumeration of the six pairs.
    leaf = mutator.alphas.detach()[0].clone().requires_grad_()
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    weight = torch.stack([(leaf[i] + leaf[j]).exp() for i, j in pairs])
    p = weight / weight.sum()
    mean = sum(p[n] * (values[i] + values[j]) for n, (i, j) in enumerate(pairs))
    wanted = torch.autograd.grad(mean, leaf)[0]  # type: ignore[arg-type]
    assert torch.allclose(found, wanted, rtol=1e-9)


def test_gates_of_any_number_are_choices_of_two() -> None:
    block = InputChoice(2, key="any")
    mutator = ReinmaxMutator(nn.ModuleList([block]), scale=1.0)
    logits, generator = prepared(mutator)
    torch.multinomial(torch.ones(1, 2, dtype=torch.float64), 1, generator=generator)
    pairs = torch.stack([logits.detach()[0], torch.zeros(2, dtype=torch.float64)], dim=1)
    chosen = torch.multinomial(pairs.softmax(dim=1), 1, generator=generator)
    mutator.reset()
    mix = mutator.binding.decisions["any"].mix

    assert mix is not None and mix.tolist() == (1.0 - chosen[:, 0]).tolist()
    found = torch.autograd.grad(mix[0], mutator.alphas)[0][0, 0]
    p0, hot = float(pairs[0].softmax(0)[0]), 1.0 - float(chosen[0])
    p1 = (hot + p0) / 2
    assert float(found) == pytest.approx(2 * p1 * (1 - p1) - p0 * (1 - p0) / 2)


def test_a_temperature_below_1_is_refused() -> None:
    with pytest.raises(OptionError, match="tau must be at least 1, got 0.5"):
        ReinmaxMutator(SmallNet(), tau=0.5)
