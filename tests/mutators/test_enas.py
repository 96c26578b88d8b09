"""The ENAS controller: probabilities, gradients and penalties against brute force."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators import EnasMutator
from nas_plugin.operations import Zero
from nas_plugin.space import Architecture


class Small(nn.Module):
    """2 x 3 operations, any of two inputs, two of three inputs: 72 architectures."""

    def __init__(self) -> None:
        super().__init__()
        self.first = LayerChoice([nn.Tanh(), nn.Identity()], key="a/op")
        self.second = LayerChoice([nn.Tanh(), nn.Identity(), nn.ReLU()], key="b/op")
        self.skips = InputChoice(choose_from=["a", "b"], key="c/skip")
        self.two = InputChoice(n_candidates=3, n_chosen=2, key="d")


@pytest.fixture
def mutator() -> EnasMutator:
    made = EnasMutator(Small(), hidden=4, seed=1).double()
    # Far from uniform, so that a wrong gradient shows.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(12)
    return made


def reward(architecture: Architecture) -> float:
    """Any function of an architecture will do."""
    return (sum(ord(c) for c in repr(sorted(architecture.items()))) * 7919 % 101) / 101


def test_probabilities_of_all_architectures_sum_to_one(mutator: EnasMutator) -> None:
    with torch.no_grad():
        p = [mutator.log_prob(a).exp().item() for a in mutator.space.enumerate()]

    assert len(p) == 72
    assert math.isclose(sum(p), 1, rel_tol=1e-9)
    assert max(p) > 3 * min(p)


def test_the_log_probability_of_a_draw_is_that_of_its_architecture(mutator: EnasMutator) -> None:
    for _ in range(5):
        mutator.reset()
        written = mutator.written
        assert written is not None
        assert torch.isclose(written.log_prob, mutator.log_prob(written.architecture))


def test_reinforce_equals_the_gradient_of_the_enumerated_expectation(mutator: EnasMutator) -> None:
    parameters = [p for p in mutator.parameters() if p.requires_grad]
    spaces = list(mutator.space.enumerate())
    expectation = sum(mutator.log_prob(a).exp() * reward(a) for a in spaces)
    exact = torch.autograd.grad(expectation, parameters, allow_unused=True)
    truth = torch.cat([g.flatten() for g in exact if g is not None])

    baseline, n = 0.4, 300
    terms: dict[Architecture, Tensor] = {}
    draws = []
    for _ in range(n):
        with torch.no_grad():
            mutator.reset()
        assert mutator.written is not None
        drawn = mutator.written.architecture
        if drawn not in terms:
            objective = mutator.log_prob(drawn) * (reward(drawn) - baseline)
            grads = torch.autograd.grad(objective, parameters, allow_unused=True)
            flat = [
                torch.zeros_like(p) if g is None else g
                for p, g, known in zip(parameters, grads, exact, strict=True)
                if known is not None
            ]
            terms[drawn] = torch.cat([g.flatten() for g in flat])
        draws.append(terms[drawn])
    estimates = torch.stack(draws)
    mean, error = estimates.mean(0), estimates.std(0) / math.sqrt(n)

    # Along the true gradient, and entry by entry, within Monte-Carlo error.
    along = (estimates @ truth) / truth.norm() ** 2
    assert abs(along.mean() - 1) < 4 * along.std() / math.sqrt(n)
    assert along.std() / math.sqrt(n) < 0.4
    assert (((mean - truth).abs() / (error + 1e-12)) > 5).double().mean() < 0.01


def test_the_entropy_is_that_of_the_choices_met() -> None:
    model = nn.Sequential(LayerChoice([nn.Tanh(), nn.Identity(), nn.ReLU()]))
    mutator = EnasMutator(model, hidden=3)
    mutator.reset()
    assert mutator.written is not None
    with torch.no_grad():
        p = torch.stack([mutator.log_prob(a).exp() for a in mutator.space.enumerate()])

    assert torch.isclose(mutator.written.entropy, -(p * p.log()).sum())


def test_the_skip_penalty_is_zero_at_the_target_and_grows_away_from_it() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.op = LayerChoice([nn.Tanh(), nn.Identity()])
            self.skip = InputChoice(n_candidates=2)

    mutator = EnasMutator(Skips(), skip_target=0.5)
    with torch.no_grad():
        mutator.attention.weight.zero_()
    mutator.reset()
    assert mutator.written is not None
    assert mutator.written.skip_penalty.item() == pytest.approx(0, abs=1e-7)

    mutator.skip_target = 0.4
    mutator.reset()
    # p = 0.5 for both inputs: 2 KL(0.5 || 0.4).
    expected = 2 * (0.5 * math.log(0.5 / 0.4) + 0.5 * math.log(0.5 / 0.6))
    assert mutator.written.skip_penalty.item() == pytest.approx(expected, rel=1e-5)


def test_the_authors_skip_penalty_is_zero_at_another_rate_than_its_target() -> None:
    # Theirs: KL of sigmoid(q) against 0.4; drawn is sigmoid(2q), which is 4/13 where q = log(2/3).
    two_q = torch.tensor([2 * math.log(2 / 3), 2 * math.log(2 / 3)])
    p = 4 / 13
    real = p * math.log(p / 0.4) + (1 - p) * math.log((1 - p) / 0.6)
    model = nn.Sequential(LayerChoice([nn.Tanh(), nn.Identity()]))

    theirs = EnasMutator(model, authors_skip_penalty=True)._skip_penalty(two_q)
    assert theirs.item() == pytest.approx(0, abs=1e-6)
    mine = EnasMutator(nn.Sequential(LayerChoice([nn.Tanh(), nn.Identity()])))
    assert mine._skip_penalty(two_q).item() == pytest.approx(2 * real, rel=1e-5)


def test_logits_are_bounded_by_the_tanh_constant() -> None:
    model = nn.Sequential(LayerChoice([nn.Tanh(), nn.Identity()]))
    mutator = EnasMutator(model, tanh_constant=1.1, op_tanh_reduce=2.5)
    with torch.no_grad():
        for parameter in mutator.parameters():
            parameter.mul_(1e4)
    bound = 1.1 / 2.5
    p = max(mutator.status()["0"].values())

    assert p <= 1 / (1 + math.exp(-2 * bound)) + 1e-6


def test_a_candidate_that_is_never_kept_is_never_sampled() -> None:
    model = nn.Sequential(LayerChoice({"none": Zero(), "a": nn.Tanh(), "b": nn.Identity()}))
    mutator = EnasMutator(model)
    for _ in range(30):
        mutator.reset()
        assert mutator.binding.decisions["0"].active != (0,)
    assert mutator.status()["0"]["none"] == 0


def test_only_what_was_written_runs_and_a_weight_step_keeps_no_graph() -> None:
    model = nn.Sequential(LayerChoice([nn.Linear(2, 2) for _ in range(5)]))
    mutator = EnasMutator(model)
    with torch.no_grad():
        mutator.reset()

    assert mutator.written is not None and not mutator.written.log_prob.requires_grad
    assert len(mutator.binding.decisions["0"].active) == 1


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(OptionError, match="skip_target"):
        EnasMutator(Small(), skip_target=1.0)
