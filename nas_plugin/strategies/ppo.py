"""Proximal policy optimisation of a policy over choices."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._policy import Policy
from nas_plugin.strategies.proposal import Trial, by_value
from nas_plugin.strategies.strategy import Strategy

#: Where steps are so long that a ratio would overflow, it is cut off.
_MOST_LOG_RATIO = 20.0


class Ppo(Strategy, name="ppo"):
    """Several clipped steps on every batch of results.

    Maximises the mean of ``min(ratio * A, clip(ratio, 1 - clip, 1 + clip) * A)`` plus `entropy`
    times the policy's entropy, where `ratio` compares the policy with the one that proposed and
    the advantages A of a batch are standardised.

    Args:
        space: The search space.
        batch: Results that are learned from together.
        epochs: Steps on each batch.
        clip: How far the ratio may leave 1.
        entropy: The weight of the entropy, which keeps the policy from settling early.
        lr: Of Adam.
        **options: See `Strategy`.

    References:
        Schulman et al. 2017, https://arxiv.org/abs/1707.06347
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        batch: int = 8,
        epochs: int = 8,
        clip: float = 0.2,
        entropy: float = 0.01,
        lr: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if batch < 2 or epochs < 1 or not 0 < clip < 1 or entropy < 0 or not lr > 0:
            raise OptionError(
                "ppo needs batch >= 2, epochs >= 1, clip in (0, 1), entropy >= 0 and lr > 0, got "
                f"{batch}, {epochs}, {clip}, {entropy} and {lr}."
            )
        self.batch, self.epochs, self.clip, self.entropy = batch, epochs, clip, entropy
        self.policy = Policy(space, self.rng, lr=lr)
        self._log_probs: dict[int, float] = {}
        self._batch: list[int] = []

    def suggest(self) -> Architecture:
        return self.policy.sample(self.rng)

    def opened(self, trial: Trial, promoted: bool) -> None:
        probabilities = self.policy.probabilities()
        log_prob = self.policy.log_prob(trial.architecture, probabilities)
        self._log_probs[trial.proposal.id] = log_prob

    def observe(self, trial: Trial) -> None:
        self._batch.append(trial.proposal.id)
        if len(self._batch) == self.batch:
            self._learn()
            self._batch = []

    def observe_failure(self, trial: Trial) -> None:
        del self._log_probs[trial.proposal.id]

    def _learn(self) -> None:
        trials = [self.trials[i] for i in self._batch]
        rewards = [by_value(trial) for trial in trials]
        mean, deviation = statistics.fmean(rewards), statistics.pstdev(rewards)
        old = [self._log_probs.pop(i) for i in self._batch]
        for _ in range(self.epochs):
            gradient = self.policy.zeros()
            probabilities = self.policy.probabilities()
            for trial, reward, log_prob in zip(trials, rewards, old, strict=True):
                advantage = (reward - mean) / (deviation + 1e-8)
                new = self.policy.log_prob(trial.architecture, probabilities)
                ratio = math.exp(min(new - log_prob, _MOST_LOG_RATIO))
                clipped = ratio > 1 + self.clip if advantage > 0 else ratio < 1 - self.clip
                if not clipped:
                    self.policy.add_log_prob_gradient(
                        gradient, trial.architecture, probabilities, ratio * advantage / self.batch
                    )
            self._add_entropy(gradient, probabilities)
            self.policy.ascend(gradient)

    def _add_entropy(self, gradient: list[list[float]], probabilities: list[list[float]]) -> None:
        """Adds the gradient of the entropy, ``-p * (log p + H)`` for each logit."""
        for target, row in zip(gradient, probabilities, strict=True):
            entropy = -sum(p * math.log(p) for p in row)
            for column, p in enumerate(row):
                target[column] -= self.entropy * p * (math.log(p) + entropy)

    def state(self) -> dict[str, Any]:
        return {
            "policy": self.policy.state(),
            "log_probs": [[i, value] for i, value in self._log_probs.items()],
            "batch": list(self._batch),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.policy.restore(state["policy"])
        self._log_probs = {int(i): float(value) for i, value in state["log_probs"]}
        self._batch = list(state["batch"])
