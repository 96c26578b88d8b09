"""GDAS: differentiable search that runs one candidate per block."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from nas_plugin.choice.decision import Decision
from nas_plugin.mutators._gumbel import GumbelMutator


class GdasMutator(GumbelMutator, name="gdas"):
    """Samples one candidate per choice block by straight-through Gumbel-softmax.

    ``h = one_hot(argmax p) - stopgrad(p) + p`` with ``p = softmax((alpha + Gumbel noise) / tau)``.
    Only the drawn candidate c runs, so the cost does not grow with K; the other logits receive
    their gradient through ``p_c``.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        tau_start: Temperature of the first epoch; high is close to uniform.
        tau_end: Temperature of the last epoch, reached linearly.
        authors_sum: Add ``sum_{k != c} h_k`` to the output of every layer choice, as the authors'
            public code does: its value is 0, but it has a gradient.

    References:
        Dong & Yang 2019, https://arxiv.org/abs/1910.04465
    """

    sparse = True
    mixes = "hard"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        tau_start: float = 10.0,
        tau_end: float = 0.1,
        authors_sum: bool = False,
    ) -> None:
        super().__init__(model, seed=seed, scale=scale, tau_start=tau_start, tau_end=tau_end)
        self.authors_sum = authors_sum

    def relax(self, logits: Tensor) -> Tensor:
        return self.drawn(logits)

    def sample_search(self) -> dict[str, Decision]:
        decisions = super().sample_search()
        if self.authors_sum:
            for key, decision in decisions.items():
                if self.space[key].kind == "layer" and decision.mix is not None:
                    # What did not run has the value 0, so that only the gradient counts.
                    rest = decision.mix.sum() - decision.mix[list(decision.active)].sum()
                    decisions[key] = replace(decision, offset=rest)
        return decisions
