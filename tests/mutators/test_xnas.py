"""XNAS: exponentiated gradients of the derivatives at the coefficients, and experts wiped out."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators import XnasMutator
from nas_plugin.trainers import DartsTrainer, accuracy
from tests.mutators.small_net import EVERY, VALID, SmallNet, softmax


def stepped(net: SmallNet, mutator: XnasMutator, optimizer: Any) -> Tensor:
    """Takes one step of the logits; returns the gradient that they received."""
    mutator.reset()
    (grad,) = torch.autograd.grad(net.loss(), mutator.alphas)
    mutator.alphas.grad = grad
    optimizer.step()
    mutator.after_arch_step()
    return grad


def test_ten_steps_are_the_papers_multiplicative_updates() -> None:
    net = SmallNet()
    mutator = XnasMutator(net, steps=10_000, bound=0.5).double()
    optimizer = mutator.arch_optimizer([mutator.alphas])
    v = torch.ones(3, 3, dtype=torch.float64) * VALID
    eta = torch.tensor([math.sqrt(2 * math.log(k) / 10_000) / 0.5 for k in (3, 2, 2)])[:, None]
    clipped = False
    for _ in range(10):
        mix = (v / v.sum(dim=1, keepdim=True)).requires_grad_()
        rewards = -torch.autograd.grad(net.written_out(tuple(mix), EVERY), mix)[0]
        clipped = clipped or bool((rewards.abs() > 0.5).any())
        v = v * torch.exp(eta * rewards.clamp(-0.5, 0.5))
        stepped(net, mutator, optimizer)

    assert clipped
    found = mutator.alphas.detach().exp() * VALID
    assert torch.allclose(found / found.sum(1, keepdim=True), v / v.sum(1, keepdim=True), rtol=1e-6)
    assert int(mutator.done) == 10


def test_coefficients_are_normalised_weights_and_the_gradient_is_that_at_the_coefficients() -> None:
    net = SmallNet()
    mutator = XnasMutator(net, scale=1.0).double()
    mutator.reset()
    mixes = softmax(mutator.alphas.detach()).requires_grad_()
    expected = net.written_out(tuple(mixes), EVERY)

    assert torch.allclose(net.loss(), expected, rtol=1e-12)
    found = torch.autograd.grad(net.loss(), mutator.alphas)[0]
    assert torch.allclose(found, torch.autograd.grad(expected, mixes)[0] * VALID, rtol=1e-10)


def test_an_expert_that_cannot_win_any_more_is_dropped_and_not_computed_again() -> None:
    net = SmallNet()
    mutator = XnasMutator(net, steps=50).double()
    eta = math.sqrt(2 * math.log(3) / 50)
    with torch.no_grad():
        mutator.done.fill_(39)
        threshold = 2 * eta * (50 - 40)
        mutator.alphas[0] = torch.tensor([0.0, -threshold * 1.01, -threshold * 0.99])
    mutator.after_arch_step()

    assert mutator.alive[0].tolist() == [True, False, True]
    mutator.reset()
    net.loss()
    assert net.ran[:3] == [1, 0, 1]
    mix = mutator.binding.decisions["a"].mix
    assert mix is not None and float(mix[1].detach()) == 0.0
    left = torch.tensor([0.0, -threshold * 0.99]).double().softmax(0)
    assert torch.allclose(mix.detach()[[0, 2]], left, rtol=1e-5)
    grad = torch.autograd.grad(net.loss(), mutator.alphas)[0]
    assert float(grad[0, 1]) == 0.0 and float(grad[0, 0]) != 0.0

    # It stays dropped, whatever becomes of the others, and ranks last.
    with torch.no_grad():
        mutator.alphas[0, 2] = -10.0
        mutator.done.fill_(0)
    mutator.after_arch_step()
    assert mutator.alive[0].tolist() == [True, False, True]
    assert min(mutator.status()["a"], key=mutator.status()["a"].__getitem__) == "1"


def test_after_the_last_step_one_expert_is_left() -> None:
    net = SmallNet()
    mutator = XnasMutator(net, steps=4, bound=100.0).double()
    optimizer = mutator.arch_optimizer([mutator.alphas])
    for _ in range(4):
        stepped(net, mutator, optimizer)

    assert mutator.alive.sum(dim=1).tolist() == [1, 1, 1]
    best = {k: max(p, key=p.__getitem__) for k, p in mutator.status().items()}
    assert mutator.export()["a"] == best["a"]
    buffer = io.BytesIO()
    torch.save(mutator.state_dict(), buffer)
    buffer.seek(0)
    again = XnasMutator(SmallNet(), steps=4).double()
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(again.alive, mutator.alive) and int(again.done) == 4


def test_a_choice_of_two_inputs_keeps_two_and_gates_are_never_dropped() -> None:
    two, any_number = InputChoice(3, n_chosen=2, key="two"), InputChoice(3, key="any")
    mutator = XnasMutator(nn.ModuleList([two, any_number]), steps=1)
    with torch.no_grad():
        mutator.alphas.copy_(torch.tensor([[1.0, 2.0, 0.0], [-9.0, 0.0, 9.0]]))
    mutator.after_arch_step()

    assert mutator.alive.tolist() == [[True, True, False], [True, True, True]]


def test_the_trainer_plans_the_steps() -> None:
    from tests.trainers.test_planted import planted_problem

    problem = planted_problem(0)
    trainer = DartsTrainer(
        problem.model, nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(problem.model.parameters(), lr=0.1), 3, problem.train, problem.valid,
        batch_size=64, device="cpu", mutator="xnas", warmup_epochs=1, limit_batches=2,
    )  # fmt: skip
    trainer.train()
    mutator = trainer.mutator

    assert isinstance(mutator, XnasMutator)
    # Two epochs of two steps; the first epoch trains weights only.
    assert mutator.steps == 4 and int(mutator.done) == 4
    assert mutator.alive.sum(dim=1).tolist() == [1] * 5


def test_without_a_plan_a_step_is_refused() -> None:
    mutator = XnasMutator(SmallNet())
    with pytest.raises(OptionError, match="does not know how many steps"):
        mutator.after_arch_step()
    with pytest.raises(OptionError, match="must be positive, got 0.0 and None"):
        XnasMutator(SmallNet(), bound=0.0)
