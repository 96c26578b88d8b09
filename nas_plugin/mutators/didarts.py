"""DiDARTS: Gumbel-softmax mixes, meant to be trained together with the weights."""

from __future__ import annotations

from torch import nn

from nas_plugin.mutators._gumbel import GumbelMutator


class DidartsMutator(GumbelMutator, name="didarts"):
    """Mixes all candidates by ``softmax((alpha + Gumbel noise) / tau)`` at one temperature.

    What makes it DiDARTS is the trainer: weights and logits take one step together on one batch.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        tau_start: Temperature of the first epoch.
        tau_end: Temperature of the last epoch, reached linearly.

    References:
        Archai, https://github.com/microsoft/archai (algorithm "didarts")
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        tau_start: float = 1.0,
        tau_end: float = 1.0,
    ) -> None:
        super().__init__(model, seed=seed, scale=scale, tau_start=tau_start, tau_end=tau_end)
