"""FBNet: Gumbel-softmax, with the expected latency among the losses."""

from __future__ import annotations

from torch import nn

from nas_plugin.mutators._gumbel import GumbelMutator


class FbnetMutator(GumbelMutator, name="fbnet"):
    """Mixes all candidates by ``softmax((alpha + Gumbel noise) / tau)``; tau falls exponentially.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        tau_start: Temperature of the first epoch.
        tau_end: Temperature of the last epoch; that of the paper after its 90 epochs, each of which
            takes ``exp(-0.045)`` of it.

    References:
        Wu et al. 2019, https://arxiv.org/abs/1812.03443
    """

    schedule = "exponential"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        tau_start: float = 5.0,
        tau_end: float = 0.09,
    ) -> None:
        super().__init__(model, seed=seed, scale=scale, tau_start=tau_start, tau_end=tau_end)
