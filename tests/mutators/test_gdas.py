"""GDAS: one candidate runs, and every logit receives the gradient of the straight-through draw."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.errors import ChoiceError
from nas_plugin.mutators import GdasMutator
from tests.mutators.small_net import SmallNet, compared, gumbel, prepared, softmax


def drawn(logits: Tensor, generator: torch.Generator, tau: float) -> tuple[Tensor, list[int]]:
    """The paper's h, and which candidate of each row is drawn."""
    p = softmax((logits.log_softmax(dim=1) + gumbel(generator, 3, 3)) / tau)
    chosen: list[int] = p.argmax(dim=1).tolist()
    one_hot = torch.zeros(3, 3, dtype=torch.float64)
    one_hot[range(3), chosen] = 1.0
    return one_hot - p.detach() + p, chosen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("progress", [0.0, 0.8])
def test_coefficients_and_gradient_are_those_of_the_formula(seed: int, progress: float) -> None:
    net = SmallNet()
    mutator = GdasMutator(net, scale=1.0, seed=seed)
    logits, generator = prepared(mutator)
    mutator.start_epoch(progress)
    mutator.reset()

    h, chosen = drawn(logits, generator, 10.0 + progress * (0.1 - 10.0))
    compared(net, mutator, net.written_out(tuple(h), [[c] for c in chosen]), logits)


def test_one_candidate_runs_per_block() -> None:
    net = SmallNet()
    mutator = GdasMutator(net, scale=1.0)
    mutator.double().reset()
    net.loss()

    assert sum(net.ran[:3]) == 1 and sum(net.ran[3:]) == 1
    for decision in mutator.binding.decisions.values():
        assert decision.mix is not None and decision.offset is None
        assert sorted(decision.mix.tolist(), reverse=True)[:2] == [1.0, 0.0]


def test_the_authors_sum_adds_the_zeros_of_the_candidates_that_did_not_run() -> None:
    net = SmallNet()
    mutator = GdasMutator(net, scale=1.0, authors_sum=True)
    logits, generator = prepared(mutator)
    mutator.reset()
    h, (a, b, pick) = drawn(logits, generator, 10.0)

    # Their cell: sum(w * op(x) if drawn else w for ...), on every choice of an operation.
    scale_a, scale_b = (1.0, -2.0, 3.0), (0.5, 4.0)
    first = h[0, a] * scale_a[a] * net.x.tanh() + sum(h[0, k] for k in range(3) if k != a)
    second = h[1, b] * scale_b[b] * first.tanh() + sum(h[1, k] for k in range(2) if k != b)
    expected = ((h[2, pick] * (first, second)[pick] + second) ** 2).sum()
    plain = net.written_out(tuple(h), [[a], [b], [pick]])
    grad = torch.autograd.grad(expected, logits, retain_graph=True)[0]
    plain_grad = torch.autograd.grad(plain, logits, retain_graph=True)[0]

    assert not torch.allclose(grad, plain_grad)
    found = torch.autograd.grad(net.loss(), mutator.alphas)[0]
    assert torch.allclose(found, grad, rtol=1e-9, atol=1e-12)
    assert torch.allclose(net.loss(), plain, rtol=1e-12)


def test_the_authors_sum_needs_an_output_to_add_to() -> None:
    model = LayerChoice([nn.Identity(), nn.Identity()], reduction="none", key="k")
    GdasMutator(model, authors_sum=True).reset()
    with pytest.raises(ChoiceError, match=r"cannot add the offset .* to a list"):
        model(torch.ones(1))


def test_draws_follow_the_softmax_whatever_the_temperature() -> None:
    mutator = GdasMutator(SmallNet(), scale=1.0)
    logits, _ = prepared(mutator)
    n = 4000
    with torch.no_grad():
        share = torch.stack([mutator.relax(mutator.alphas) for _ in range(n)]).mean(dim=0)

    assert float((share - softmax(logits.detach())).abs().max()) < 5 * 0.5 / math.sqrt(n)


def test_of_several_inputs_as_many_are_drawn_and_all_logits_get_a_gradient() -> None:
    block = InputChoice(4, n_chosen=2, key="two")
    mutator = GdasMutator(block, scale=1.0)
    logits, generator = prepared(mutator)
    mutator.start_epoch(0.9)
    mutator.reset()
    decision = mutator.binding.decisions["two"]
    noisy = logits[0] + gumbel(generator, 1, 4)[0]
    tau = 10 + 0.9 * (0.1 - 10)
    first = (noisy / tau).softmax(0)
    second = ((noisy + (1 - first).log()) / tau).softmax(0)
    two = noisy.topk(2).indices.sort().values
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)

    assert decision.active == tuple(two.tolist()) and decision.mix is not None
    assert decision.mix.detach().tolist() == [1.0 if i in two else 0.0 for i in range(4)]
    found = torch.autograd.grad(block(list(values)), mutator.alphas)[0][0]
    wanted = torch.autograd.grad(((first + second) * values)[two].sum(), logits)[0][0]
    assert torch.allclose(found, wanted, rtol=1e-10)
    assert bool((found != 0).all())


def test_shut_gates_of_any_number_get_a_gradient_too() -> None:
    block = InputChoice(3, key="any")
    mutator = GdasMutator(block, scale=1.0, seed=1)
    logits, generator = prepared(mutator)
    mutator.start_epoch(0.9)
    mutator.reset()
    gumbel(generator, 1, 3)
    noise = gumbel(generator, 1, 3) - gumbel(generator, 1, 3)
    soft = torch.sigmoid((logits + noise)[0] / (10 + 0.9 * (0.1 - 10)))
    mix = mutator.binding.decisions["any"].mix
    values = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    assert mix is not None
    assert mix.tolist() == (soft > 0.5).double().tolist()
    found = torch.autograd.grad(block(list(values)), mutator.alphas)[0][0]
    wanted = torch.autograd.grad((soft * values).sum(), logits)[0][0]
    assert torch.allclose(found, wanted, rtol=1e-10)
