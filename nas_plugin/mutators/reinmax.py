"""ReinMax: one-hot draws with a gradient that is accurate to second order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError
from nas_plugin.mutators import _subsets
from nas_plugin.mutators._differentiable import DifferentiableMutator, straight_through


class ReinmaxMutator(DifferentiableMutator, name="reinmax"):
    """Draws one candidate per choice block from ``p0 = softmax(alpha)``: a one-hot D.

    With ``p1 = (D + softmax(alpha / tau)) / 2``, then
    ``p1 <- softmax(stopgrad(log p1 - alpha) + alpha)`` and ``p2 = 2 p1 - p0 / 2``, the mix is
    ``p2 - stopgrad(p2) + D``. Its gradient needs the derivative at every gate, so in a step of the
    logits the candidates that were not drawn run too, without a gradient through them; in a step
    of the weights only the drawn one runs.

    Choices of any number draw every gate that way, as a choice of two. Choices of m > 1 inputs are
    straight-through with the probability of each input.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        tau: Temperature of the second softmax, at least 1.
        drawn_only: Run the drawn candidate alone in steps of the logits too: the derivatives at
            the other gates are taken for 0, which costs the second order.

    Raises:
        OptionError: If `tau` is below 1.

    References:
        Liu et al. 2023, https://arxiv.org/abs/2304.08612
    """

    sparse = True
    mixes = "hard"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        tau: float = 1.0,
        drawn_only: bool = False,
    ) -> None:
        if tau < 1:
            raise OptionError(f"tau must be at least 1, got {tau}.")
        super().__init__(model, seed=seed, scale=scale)
        self.tau, self.drawn_only = tau, drawn_only
        self._several = [row for row, m in enumerate(self.n_chosen[:, 0].tolist()) if m > 1]

    def relax(self, logits: Tensor) -> Tensor:
        mixes = self._drawn(logits.masked_fill(~self.valid, float("-inf")))
        for row in self._several:
            mixes = mixes.index_copy(0, torch.tensor([row], device=mixes.device), self._subset(row))
        return mixes

    def gates(self, logits: Tensor) -> Tensor:
        pairs = torch.stack([logits.flatten(), torch.zeros_like(logits).flatten()], dim=1)
        return self._drawn(pairs)[:, 0].reshape(logits.shape)

    def active(self, mixes: Tensor) -> list[tuple[int, ...]]:
        return self._all if self._watches(mixes) else super().active(mixes)

    def watched(self, mixes: Tensor) -> list[tuple[int, ...]]:
        if not self._watches(mixes):
            return super().watched(mixes)
        return [
            tuple(i for i in every if not row[i])
            for row, every in zip((mixes != 0).tolist(), self._all, strict=True)
        ]

    def _watches(self, mixes: Tensor) -> bool:
        return mixes.requires_grad and not self.drawn_only

    def _drawn(self, logits: Tensor) -> Tensor:
        """Returns one-hot draws ``(B, K)``; padding is minus infinity."""
        p = logits.detach().softmax(dim=1).cpu()
        drawn = torch.multinomial(p, 1, generator=self.generator).to(logits.device)
        return reinmax(logits, torch.zeros_like(logits).scatter(1, drawn, 1.0), self.tau)

    def _subset(self, row: int) -> Tensor:
        """Returns m of n inputs, ``(1, K)``, with the gradient of their probabilities."""
        n, m = self._widths[row], int(self.n_chosen[row])
        logits = self.alphas[row, :n]
        hard = torch.zeros_like(logits)
        hard[list(_subsets.draw(logits, m, self.generator))] = 1.0
        mix = straight_through(_subsets.inclusion(logits, m), hard)
        return nn.functional.pad(mix, (0, self.alphas.shape[1] - n))[None]


def reinmax(logits: Tensor, drawn: Tensor, tau: float = 1.0) -> Tensor:
    """Returns `drawn` with the gradient of ReinMax at the logits.

    Args:
        logits: ``(B, K)``; minus infinity where a row has no candidate.
        drawn: ``(B, K)``, one-hot, drawn from the softmax of the logits.
        tau: Temperature of the second softmax.
    """
    p0 = logits.softmax(dim=1)
    with torch.no_grad():
        p1 = (drawn + (logits / tau).softmax(dim=1)) / 2
        shift = torch.where(logits.isfinite(), p1.log() - logits, 0.0)
    p2 = 2 * (shift + logits).softmax(dim=1) - p0 / 2
    return straight_through(p2, drawn)
