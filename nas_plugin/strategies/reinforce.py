"""REINFORCE: a policy over choices that follows its reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._policy import Policy
from nas_plugin.strategies.proposal import Trial, by_value
from nas_plugin.strategies.strategy import Strategy


class Reinforce(Strategy, name="reinforce"):
    """Raises the probability of what was better than a moving average.

    The defaults are those of the authors' code for NATS-Bench: Adam with 0.01, baseline 0.9
    (updated before it is subtracted), one step a result. Adam's step hardly depends on the
    reward's scale.

    Args:
        space: The search space.
        lr: Of Adam.
        baseline: How slowly the moving average forgets.
        **options: See `Strategy`.

    References:
        Williams 1992, https://doi.org/10.1007/BF00992696;
        Dong & Yang 2020, https://arxiv.org/abs/2001.00326
    """

    def __init__(
        self, space: SearchSpace, *, lr: float = 0.01, baseline: float = 0.9, **options: Any
    ) -> None:
        super().__init__(space, **options)
        if not lr > 0 or not 0 <= baseline < 1:
            raise OptionError(
                f"lr must be positive and baseline be in [0, 1), got {lr} and {baseline}."
            )
        self.baseline = baseline
        self.policy = Policy(space, self.rng, lr=lr)
        self._numerator = self._denominator = 0.0

    def suggest(self) -> Architecture:
        return self.policy.sample(self.rng)

    def observe(self, trial: Trial) -> None:
        reward = by_value(trial)
        self._numerator = self.baseline * self._numerator + (1 - self.baseline) * reward
        self._denominator = self.baseline * self._denominator + (1 - self.baseline)
        advantage = reward - self._numerator / self._denominator
        gradient = self.policy.zeros()
        probabilities = self.policy.probabilities()
        self.policy.add_log_prob_gradient(gradient, trial.architecture, probabilities, advantage)
        self.policy.ascend(gradient)

    def state(self) -> dict[str, Any]:
        average = [self._numerator, self._denominator]
        return {"policy": self.policy.state(), "baseline": average}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.policy.restore(state["policy"])
        self._numerator, self._denominator = state["baseline"]
