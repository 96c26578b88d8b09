"""DrNAS: mixes are draws from Dirichlet distributions whose concentrations are learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nas_plugin.choice.decision import Decision
from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import DifferentiableMutator

ANCHORS = ("l2", "kl", "none")


class DrnasMutator(DifferentiableMutator, name="drnas"):
    """Mixes all candidates by a draw from ``Dirichlet(elu(alpha) + 1)``.

    The anchor pulls the distribution to the uniform one, ``alpha = 0``: ``l2`` adds
    ``weight / 2 * ||alpha||^2`` to the architecture loss, ``kl`` adds ``weight`` times the
    divergence from ``Dirichlet(1)``. A candidate's strength is the distribution's mean.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        anchor: ``l2``, ``kl`` or ``none``.
        anchor_weight: Factor of the anchor's term.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Chen et al. 2021, https://arxiv.org/abs/2006.10355
    """

    # The anchor takes the place of Adam's weight decay.
    arch_settings: ClassVar[Mapping[str, Any]] = {"weight_decay": 0.0}

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        anchor: Literal["l2", "kl", "none"] = "l2",
        anchor_weight: float = 1e-3,
    ) -> None:
        if anchor not in ANCHORS:
            raise OptionError(f"anchor must be one of {', '.join(ANCHORS)}, got {anchor!r}.")
        if anchor_weight < 0:
            raise OptionError(f"anchor_weight must not be negative, got {anchor_weight}.")
        super().__init__(model, seed=seed, scale=scale)
        self.anchor, self.anchor_weight = anchor, anchor_weight

    def concentration(self) -> Tensor:
        """Returns ``elu(alpha) + 1``, ``(B, K)``."""
        return concentration(self.alphas)

    def relax(self, logits: Tensor) -> Tensor:
        drawn: Tensor = _Dirichlet.apply(  # type: ignore[no-untyped-call]
            concentration(logits), self.valid, self.generator
        )
        return drawn

    def probabilities(self) -> Tensor:
        concentration = self.concentration() * self.valid
        mean = concentration / concentration.sum(dim=1, keepdim=True)
        return self._with_gates(mean, self.alphas.sigmoid())

    def penalty(self, decisions: Mapping[str, Decision]) -> Tensor | None:
        if self.anchor == "none" or self.anchor_weight == 0:
            return None
        if self.anchor == "l2":
            return self.anchor_weight / 2 * (self.alphas * self.valid).square().sum()
        counted = self.valid & ~self.independent
        return self.anchor_weight * _divergence_from_uniform(self.concentration(), counted)


def concentration(logits: Tensor) -> Tensor:
    """Returns ``elu(alpha) + 1``, kept from 0, where there is no distribution."""
    return (F.elu(logits) + 1).clamp_min(1e-6)


class _Dirichlet(torch.autograd.Function):
    """A draw of each row's Dirichlet distribution, with the pathwise gradient.

    torch.distributions takes no generator, and knows no rows of unequal widths.
    """

    @staticmethod
    def forward(
        ctx: Any, concentration: Tensor, valid: Tensor, generator: torch.Generator
    ) -> Tensor:
        # On the CPU and in double, so that every device draws the same and nothing underflows.
        wide = concentration.detach().cpu().double()
        gamma = torch._standard_gamma(wide, generator=generator).clamp_min(1e-300)
        gamma = gamma * valid.cpu()
        drawn = (gamma / gamma.sum(dim=1, keepdim=True)).to(concentration)
        ctx.save_for_backward(drawn, concentration, valid)
        return drawn

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        drawn, concentration, valid = ctx.saved_tensors
        total = (concentration * valid).sum(dim=1, keepdim=True).expand_as(concentration)
        # One entry's speed as its own concentration grows; the others share what it takes.
        inside = drawn.clamp(torch.finfo(drawn.dtype).tiny, 1.0)
        speed = torch._dirichlet_grad(inside, concentration.contiguous(), total.contiguous())
        shared = (drawn * grad).sum(dim=1, keepdim=True)
        found = (speed * (grad - shared)).masked_fill(~valid, 0.0)
        return found, None, None


def _divergence_from_uniform(concentration: Tensor, counted: Tensor) -> Tensor:
    """Returns the sum over rows of ``KL(Dirichlet(c) || Dirichlet(1))``."""
    c = concentration.masked_fill(~counted, 1.0)
    total = (c * counted).sum(dim=1, keepdim=True).clamp_min(1.0)
    width = counted.sum(dim=1, keepdim=True).to(c.dtype).clamp_min(1.0)
    per_entry = (c - 1) * (torch.digamma(c) - torch.digamma(total)) - torch.lgamma(c)
    per_row = (per_entry * counted).sum(dim=1, keepdim=True)
    normalisers = torch.lgamma(total) - torch.lgamma(width)
    return ((per_row + normalisers) * counted.any(dim=1, keepdim=True)).sum()
