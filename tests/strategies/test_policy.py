"""The policy strategies against torch: autograd for gradients, torch.optim for Adam."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch

from nas_plugin.errors import StrategyError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Outcome, Ppo, Reinforce
from nas_plugin.strategies._policy import Policy


@pytest.fixture
def space():
    return SearchSpace(Choice(f"c{i}", "layer", ("a", "b", "c", "d")) for i in range(3))


def columns(architecture):
    return torch.tensor(["abcd".index(value) for value in architecture.values()])


def log_probs(logits, architecture):
    return torch.distributions.Categorical(logits=logits).log_prob(columns(architecture))


def test_reinforce_steps_as_torch_does(space):
    strategy = Reinforce(space, seed=3)
    logits = torch.tensor(strategy.policy.logits, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.01)
    rewards, weight, total = Random(0), 0.0, 0.0
    for _ in range(20):
        proposal, reward = strategy.ask(), 60 + 30 * rewards.random()
        strategy.tell(proposal.id, Outcome({"default": reward}))
        total, weight = 0.9 * total + 0.1 * reward, 0.9 * weight + 0.1
        loss = -(log_probs(logits, proposal.architecture) * (reward - total / weight)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(
            torch.tensor(strategy.policy.logits, dtype=torch.float64), logits.detach()
        )


def test_ppo_steps_as_torch_does(space):
    options = {"batch": 4, "epochs": 5, "clip": 0.1, "entropy": 0.05, "lr": 0.2}
    strategy = Ppo(space, seed=5, repeats=True, **options)
    logits = torch.tensor(strategy.policy.logits, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    rewards = Random(1)
    for _ in range(12):  # ratios leave the range on both sides, whatever the advantage
        batch = [(strategy.ask(), rewards.random()) for _ in range(4)]
        with torch.no_grad():
            old = torch.stack([log_probs(logits, p.architecture).sum() for p, _ in batch])
        values = torch.tensor([reward for _, reward in batch], dtype=torch.float64)
        advantage = (values - values.mean()) / (values.std(correction=0) + 1e-8)
        for proposal, reward in batch:
            strategy.tell(proposal.id, Outcome({"default": reward}))
        for _ in range(5):
            new = torch.stack([log_probs(logits, p.architecture).sum() for p, _ in batch])
            ratio = (new - old).exp()
            surrogate = torch.min(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage).mean()
            entropy = torch.distributions.Categorical(logits=logits).entropy().sum()
            optimizer.zero_grad()
            (-surrogate - 0.05 * entropy).backward()
            optimizer.step()
        torch.testing.assert_close(
            torch.tensor(strategy.policy.logits, dtype=torch.float64), logits.detach()
        )


def test_the_policy_draws_by_its_probabilities(space):
    rng = Random(0)
    policy = Policy(space, rng, lr=0.1)
    policy.logits[1] = [0.0, 2.0, -1.0, 0.0]
    expected = torch.softmax(torch.tensor(policy.logits[1]), 0)
    drawn = torch.zeros(4)
    for _ in range(4000):
        drawn["abcd".index(str(policy.sample(rng)["c1"]))] += 1
    torch.testing.assert_close(drawn / 4000, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("cls", [Reinforce, Ppo])
def test_a_policy_learns_what_is_rewarded(space, cls):
    options = {"lr": 0.1} if cls is Reinforce else {}
    strategy = cls(space, repeats=True, **options)
    for _ in range(400):
        proposal = strategy.ask()
        right = sum(value == "c" for value in proposal.architecture.values())
        strategy.tell(proposal.id, Outcome({"default": float(right)}))
    assert all(row[2] > 0.9 for row in strategy.policy.probabilities())


def test_a_choice_of_too_many_values_is_refused():
    space = SearchSpace([Choice("in", "input", tuple(range(12)), n_chosen=None)])
    with pytest.raises(StrategyError, match="'in' has 4,096 values"):
        Reinforce(space)


@pytest.mark.parametrize("cls", [Reinforce, Ppo])
def test_steps_that_are_far_too_long_break_no_policy(cls):
    space = SearchSpace(Choice(f"c{i}", "value", tuple(range(4))) for i in range(40))
    strategy = cls(space, lr=300.0, repeats=True)
    for number in range(120):
        proposal = strategy.ask()
        strategy.tell(proposal.id, Outcome({"default": float(number % 7)}))
    assert all(math.isfinite(logit) for row in strategy.policy.logits for logit in row)
