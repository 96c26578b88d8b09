"""What the mutators that draw by Gumbel noise share: a temperature and relaxed draws."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import (
    DifferentiableMutator,
    gumbel_noise,
    straight_through,
)


class GumbelMutator(DifferentiableMutator):
    """Draws by ``softmax((alpha + Gumbel noise) / tau)``; tau falls from epoch to epoch.

    A choice of m inputs is the sum of m such softmaxes, each over what the earlier ones left (Xie &
    Ermon 2019), and its hard value the m largest. Choices of any number are binary Concrete gates.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        tau_start: Temperature of the first epoch; high is close to uniform.
        tau_end: Temperature of the last epoch.

    Raises:
        OptionError: If the temperatures are not ``0 < tau_end <= tau_start``.

    References:
        Jang et al. 2017, https://arxiv.org/abs/1611.01144; Xie & Ermon 2019,
        https://arxiv.org/abs/1901.10517
    """

    #: How the temperature falls between the first and the last epoch.
    schedule: ClassVar[Literal["linear", "exponential"]] = "linear"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        tau_start: float = 1.0,
        tau_end: float = 1.0,
    ) -> None:
        if not 0 < tau_end <= tau_start:
            raise OptionError(
                f"tau_end must be in (0, tau_start = {tau_start}], got {tau_end}. Temperatures "
                "fall over the search."
            )
        super().__init__(model, seed=seed, scale=scale)
        self.tau_start, self.tau_end = tau_start, tau_end
        self.tau = tau_start

    def start_epoch(self, progress: float) -> None:
        if self.schedule == "linear":
            self.tau = self.tau_start + progress * (self.tau_end - self.tau_start)
        else:
            self.tau = self.tau_start * (self.tau_end / self.tau_start) ** progress

    def relax(self, logits: Tensor) -> Tensor:
        return self.relaxed(logits + gumbel_noise(logits, self.generator))

    def gates(self, logits: Tensor) -> Tensor:
        noise = gumbel_noise(logits, self.generator) - gumbel_noise(logits, self.generator)
        soft = ((logits + noise) / self.tau).sigmoid()
        return straight_through(soft, (soft > 0.5).to(soft.dtype)) if self.sparse else soft

    def relaxed(self, noisy: Tensor) -> Tensor:
        """Turns noisy logits ``(B, K)`` into coefficients that sum to what a row chooses."""
        soft = self.masked_softmax(noisy / self.tau)
        total = soft
        for taken in range(1, self._most):
            # Keeps the logarithm finite where a softmax has reached 1.
            left = (1 - soft).clamp_min(torch.finfo(soft.dtype).tiny)
            noisy = noisy + left.log()
            soft = self.masked_softmax(noisy / self.tau)
            total = total + torch.where(self.n_chosen > taken, soft, 0.0)
        return total

    def drawn(self, logits: Tensor) -> Tensor:
        """Draws as many candidates as each row chooses: 0 or 1, with the relaxed gradient."""
        noisy = logits + gumbel_noise(logits, self.generator)
        soft = self.relaxed(noisy)
        if self._most == 1:
            return straight_through(soft)
        masked = noisy.detach().masked_fill(~self.valid, float("-inf"))
        rank = masked.argsort(dim=1, descending=True).argsort(dim=1)
        return straight_through(soft, (rank < self.n_chosen).to(soft.dtype))
