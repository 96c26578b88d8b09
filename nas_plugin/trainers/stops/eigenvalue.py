"""RobustDARTS: a search ends when the held-out loss becomes sharp in the logits."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.space.skips import counted_keys
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.curvature import (
    check_twice_differentiable,
    hessian_products,
    largest_eigenvalue,
)
from nas_plugin.trainers.stops.stop import Stop, stops


@stops.register("eigenvalue")
class EigenvalueStop(Stop):
    """Ends a search when the largest eigenvalue of the Hessian over the logits grows too fast.

    After each epoch it is found by Lanczos iteration on exact products with the Hessian of the
    loss of a batch of the logits' half, which costs a forward and backward pass and one backward
    pass of second order per iteration. With ``mean(i)`` its mean over a window around epoch i,
    the search ends where ``mean(i - lag) / mean(i) < ratio`` and both are positive; the logits
    are then those of epoch ``i - lag``. i lies half a window behind the epoch that runs. A
    mutator that draws keeps its draw over all products.

    Args:
        window: Epochs of the mean, an odd number.
        lag: k, the epochs between the two means.
        ratio: Below it the search ends.
        prefix: The beginning of the keys whose logits count; None: those of normal cells, or all
            in a space without them.
        batches: Batches whose mean loss is taken.
        iterations: Of Lanczos, at most; as many as there are logits are exact.

    Attributes:
        values: The eigenvalue after each epoch.

    Raises:
        OptionError: If an argument is not allowed, or the mixes have no second derivative.

    References:
        Zela et al. 2020, section 4.3, https://arxiv.org/abs/1909.09656
    """

    trainer: BilevelTrainer

    def __init__(
        self,
        *,
        window: int = 5,
        lag: int = 5,
        ratio: float = 0.75,
        prefix: str | None = None,
        batches: int = 1,
        iterations: int = 20,
    ) -> None:
        if window < 1 or window % 2 == 0:
            raise OptionError(f"window must be a positive odd number, got {window}.")
        if lag < 1 or batches < 1 or iterations < 1 or not ratio > 0:
            raise OptionError(
                "lag, batches, iterations and ratio must be positive, got "
                f"{lag}, {batches}, {iterations} and {ratio}."
            )
        super().__init__(back=window // 2 + lag)
        self.window, self.lag, self.ratio = window, lag, ratio
        self.prefix, self.batches, self.iterations = prefix, batches, iterations
        self.values: list[float] = []

    def build(self, trainer: Any) -> None:
        super().build(trainer)
        if not isinstance(trainer, BilevelTrainer):
            raise OptionError(
                "EigenvalueStop needs a half of the data that the logits train on, which "
                f"{type(trainer).__name__} does not have. Use BilevelTrainer."
            )
        mutator = check_twice_differentiable(trainer.mutator)
        keys = set(counted_keys(mutator.space, self.prefix))
        self._rows = [row for row, key in enumerate(mutator.rows) if key in keys]

    def on_rebuild(self) -> None:
        self.values = []
        super().on_rebuild()

    def reason(self, epoch: int) -> str | None:
        self.values.append(self.eigenvalue(epoch))
        self.trainer.record("curvature", {"eigenvalue": self.values[-1]})
        if len(self.values) < self.window + self.lag:
            return None
        now = math.fsum(self.values[-self.window :])
        before = math.fsum(self.values[-self.window - self.lag : -self.lag])
        if now <= 0 or before <= 0 or before / now >= self.ratio:
            return None
        return f"the eigenvalue grew {now / before:.2f}-fold in {self.lag} epochs"

    def eigenvalue(self, epoch: int) -> float:
        """Returns the largest eigenvalue on the first batches of an epoch."""
        trainer = self.trainer
        mutator = trainer.mutator
        assert isinstance(mutator, DifferentiableMutator)
        counted = torch.zeros_like(mutator.valid)
        counted[self._rows] = mutator.valid[self._rows]
        batches = list(islice(trainer.arch_loader.batches(epoch, 0), self.batches))
        with trainer.aside(), hessian_products(trainer.gradients, batches, mutator.alphas) as hess:

            def product(v: Tensor) -> Tensor:
                table = torch.zeros_like(mutator.alphas)
                table[counted] = v.to(table)
                return hess(table)[counted].cpu().double()

            return largest_eigenvalue(product, int(counted.sum()), self.iterations, seed=epoch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.values = list(state["values"])
