"""BANANAS: an ensemble of small networks predicts, its spread says how sure it is."""

from __future__ import annotations

from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._encoding import Vector
from nas_plugin.strategies._ensemble import Ensemble
from nas_plugin.strategies._predictor import PredictorStrategy, Rate


class Bananas(PredictorStrategy, name="bananas"):
    """Bayesian optimisation with an ensemble of networks and independent Thompson sampling.

    Each candidate is rated by a draw from the normal distribution with the ensemble's mean and
    deviation. Differs from the paper in the size of the networks (two layers of 20, which is what
    some tens of results support) and in fitting normal scores instead of errors.

    Args:
        space: The search space.
        members: Networks of the ensemble.
        steps: Steps of Adam on all results, from new weights at every fit.
        batch: Proposals from one fit.
        **options: See `PredictorStrategy` and `Strategy`.

    References:
        White et al. 2021, https://arxiv.org/abs/1910.11858
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        members: int = 5,
        steps: int = 150,
        batch: int = 5,
        **options: Any,
    ) -> None:
        super().__init__(space, batch=batch, **options)
        if members < 2 or steps < 1:
            raise OptionError(f"bananas needs members >= 2 and steps >= 1, got {members}, {steps}.")
        self.members, self.steps = members, steps

    def fit(self, known: Vector, targets: Vector) -> Rate:
        rng = self.numpy_rng()
        ensemble = Ensemble(known.shape[1], members=self.members, rng=rng)
        ensemble.fit(known, targets, steps=self.steps)

        def rate(candidates: Vector) -> Vector:
            predicted = ensemble.predict(candidates)
            noise = rng.standard_normal(len(candidates))
            rated: Vector = predicted.mean(0) + predicted.std(0) * noise
            return rated

        return rate
