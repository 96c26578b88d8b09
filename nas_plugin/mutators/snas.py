"""SNAS: every candidate runs, mixed by a relaxed draw."""

from __future__ import annotations

from torch import nn

from nas_plugin.mutators._gumbel import GumbelMutator


class SnasMutator(GumbelMutator, name="snas"):
    """Mixes all candidates by ``softmax((alpha + Gumbel noise) / tau)``, drawn anew each step.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        tau_start: Temperature of the first epoch.
        tau_end: Temperature of the last epoch, reached linearly.

    References:
        Xie et al. 2019, https://arxiv.org/abs/1812.09926
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        tau_start: float = 1.0,
        tau_end: float = 0.03,
    ) -> None:
        super().__init__(model, seed=seed, scale=scale, tau_start=tau_start, tau_end=tau_end)
