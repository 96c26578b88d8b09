"""ProxylessNAS: binary gates, so that one path or two are in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from nas_plugin.choice.decision import Decision
from nas_plugin.choice.input_choice import InputChoice
from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import ChoiceError, OptionError, SpaceError
from nas_plugin.mutators import _subsets
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.mutators.mutator import MIXES, PATHS
from nas_plugin.space.cost_table import CostTable

VARIANTS = ("two", "full")


class ProxylessMutator(DifferentiableMutator, name="proxyless"):
    """Samples gates g in {0, 1}: one path for the weights, two or all for the logits.

    Weight step: one candidate a choice, drawn from p = softmax(alpha). Architecture step: the
    output is ``sum_k g_k o_k(x)`` with one gate open, and ``dL/dalpha_i = sum_j dL/dg_j p_j
    (delta_ij - p_i)``. In the variant ``two`` two candidates are drawn by p without replacement,
    one gate is drawn from the softmax of their logits alone, and after the step both logits are
    shifted by the same amount, so that the probability of every other candidate stays. In
    ``full`` all run. A candidate whose gate is shut runs without gradient.

    Input choices have gates too, on inputs that were computed anyway: m of n are drawn with the
    probability of their sum of logits, any number by independent sigmoids.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        variant: ``two`` or ``full``.
        latency: Cost of every candidate; its expectation is added to the architecture's loss.
        latency_weight: Factor of the expected latency, per unit of the table.

    Raises:
        OptionError: If an argument is not allowed.
        ChoiceError: If a block joins its candidates so that a gate cannot shut one out.
        SpaceError: If the table does not fit, or has no expectation because a choice depends on
            another.

    References:
        Cai, Zhu, Han 2019, https://arxiv.org/abs/1812.00332
    """

    gives = frozenset({MIXES, PATHS})
    sparse = True
    mixes = "none"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        variant: Literal["two", "full"] = "two",
        latency: CostTable | None = None,
        latency_weight: float = 0.0,
    ) -> None:
        if variant not in VARIANTS:
            raise OptionError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}.")
        if latency_weight < 0 or (latency is None and latency_weight > 0):
            raise OptionError(
                "latency_weight must not be negative, and needs a latency table to be above 0; "
                f"got {latency_weight}."
            )
        self._means = _averaging_keys(model)
        super().__init__(model, seed=seed, scale=scale)
        self.variant, self.latency_weight = variant, latency_weight
        # Rows that hold one of n; the others are input choices of several.
        single = [self._number(key) == 1 for key in self.rows]
        self.single: Tensor
        self.costs: Tensor
        self.register_buffer("single", torch.tensor(single)[:, None], persistent=False)
        self.register_buffer("costs", self._cost_rows(latency), persistent=False)
        self._fixed = 0.0 if latency is None else latency.fixed
        self._before: Tensor | None = None
        self._drawn: Tensor | None = None

    def add_betas(self) -> None:
        raise OptionError(
            "ProxylessNAS trains its weights on single paths without coefficients, so edge "
            "normalisation cannot be combined with it. Search with darts, gdas or another mutator."
        )

    def relax(self, logits: Tensor) -> Tensor:
        return self.masked_softmax(logits)

    def sample_search(self) -> dict[str, Decision]:
        training_logits = torch.is_grad_enabled()
        decisions = {}
        if training_logits:
            mixes, active, watched = self._gates()
            rows = zip(mixes.unbind(0), active, watched, strict=True)
            singles = {
                key: Decision(mix[:n] * len(on) if key in self._means else mix[:n], on, off)
                for key, n, (mix, on, off) in zip(self.rows, self._widths, rows, strict=True)
            }
        else:
            with torch.no_grad():
                p = self.masked_softmax(self.alphas).cpu()
            paths = torch.multinomial(p, 1, generator=self.generator)[:, 0].tolist()
            singles = {k: Decision(None, (i,)) for k, i in zip(self.rows, paths, strict=True)}
        for key, choice in self.space.items():
            if key not in singles:
                decisions[key] = Decision(None, tuple(range(len(choice.candidates))))
            elif self._number(key) == 1:
                decisions[key] = singles[key]
            else:
                decisions[key] = self._several(key, training_logits)
        return decisions

    def penalty(self, decisions: Mapping[str, Decision]) -> Tensor | None:
        """Returns `latency_weight` times the expected latency."""
        return self.latency_weight * self.expected_latency() if self.latency_weight > 0 else None

    def expected_latency(self) -> Tensor:
        """Returns ``fixed + sum_rows sum_k p_k cost_k``.

        After two candidates a row were drawn, only their logits get a gradient: the probability
        of the pair is a constant, as the shift after the step keeps it.
        """
        p = self.masked_softmax(self.alphas)
        if self._drawn is not None and self.variant == "two":
            inside = self.alphas.masked_fill(~self._drawn, float("-inf")).softmax(dim=1)
            pair = (p * self._drawn).sum(dim=1, keepdim=True).detach()
            met = self._drawn.any(dim=1, keepdim=True)
            p = torch.where(self._drawn & met, pair * inside, p.detach())
        return self._fixed + (p * self.costs).sum()

    def after_arch_step(self) -> None:
        """Shifts the drawn logits so that all others keep their probability."""
        if self._before is None or self._drawn is None:
            return
        with torch.no_grad():
            hidden = ~self._drawn
            old = self._before.masked_fill(hidden, float("-inf")).logsumexp(dim=1, keepdim=True)
            new = self.alphas.masked_fill(hidden, float("-inf")).logsumexp(dim=1, keepdim=True)
            shift = torch.where(self._drawn, new - old, 0.0)
            self.alphas.sub_(shift)
        self._before = self._drawn = None

    def _gates(self) -> tuple[Tensor, list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Returns gates ``(B, K)`` that carry the logits' gradient, who runs, who is watched."""
        if self.variant == "full":
            candidates = self.valid
        else:
            candidates = self._two_of_each()
            if self._before is None or self._drawn is None:
                self._before, self._drawn = self.alphas.detach().clone(), candidates & self.single
            else:
                self._drawn = self._drawn | (candidates & self.single)
        p = self.alphas.masked_fill(~candidates, float("-inf")).softmax(dim=1)
        open_one = torch.multinomial(p.detach().cpu(), 1, generator=self.generator)
        gate = torch.zeros_like(p).scatter(1, open_one.to(p.device), 1.0)
        # The parentheses keep the value exactly 0 or 1.
        mixes = gate + (p - p.detach())
        active = [tuple(i for i, on in enumerate(row) if on) for row in candidates.tolist()]
        watched = [
            tuple(i for i in on if i != chosen)
            for on, chosen in zip(active, open_one[:, 0].tolist(), strict=True)
        ]
        return mixes, active, watched

    def _two_of_each(self) -> Tensor:
        """Draws two candidates a row by p without replacement: a mask ``(B, K)``."""
        noise = torch.rand(self.alphas.shape, generator=self.generator)
        gumbel = -torch.log(-torch.log(noise.clamp(1e-20, 1 - 1e-7)))
        # The two largest of logit + Gumbel noise are such a draw.
        noisy = (self.alphas.detach().cpu() + gumbel).masked_fill(~self.valid.cpu(), float("-inf"))
        two = noisy.topk(min(2, noisy.shape[1]), dim=1).indices
        return torch.zeros_like(self.valid).scatter(1, two.to(self.valid.device), True) & self.valid

    def _several(self, key: str, training_logits: bool) -> Decision:
        """Decides an input choice of several inputs."""
        row, m = self.rows.index(key), self._number(key)
        logits = self.alphas[row, : self._widths[row]]
        chosen = _subsets.draw(logits, m, self.generator)
        if not training_logits:
            return Decision(None, chosen)
        p = _subsets.inclusion(logits, m)
        gate = torch.zeros_like(p)
        gate[list(chosen)] = 1.0
        mix = gate + (p - p.detach())
        if key in self._means:
            mix = mix * (len(logits) / max(1, len(chosen)))
        return Decision(mix, self._all[row], tuple(i for i in self._all[row] if i not in chosen))

    def _number(self, key: str) -> int | None:
        choice = self.space[key]
        return choice.n_chosen if choice.kind == "input" else 1

    def _cost_rows(self, latency: CostTable | None) -> Tensor:
        costs = torch.zeros_like(self.alphas.detach())
        if latency is None:
            return costs
        latency.check(self.space)
        for key, candidates in latency.costs.items():
            choice = self.space[key]
            if choice.active_if and any(candidates.values()):
                raise SpaceError(
                    f"The choice '{key}' matters only for some values of "
                    f"{', '.join(sorted(choice.parents))}, so its latency has no expectation that "
                    "is a sum over choices. Leave it out of the table."
                )
            row = self.rows.index(key)
            for i, candidate in enumerate(choice.candidates):
                costs[row, i] = candidates[str(candidate)]
        return costs


def _averaging_keys(model: nn.Module) -> set[str]:
    """Returns the keys of blocks that average; refuses those where a gate cannot shut."""
    means = set()
    for place in keyed_blocks(model):
        if isinstance(place.block, (LayerChoice, InputChoice)):
            if place.block.reduction in ("concat", "none"):
                raise ChoiceError(
                    f"ProxylessNAS cannot search '{place.key}': with reduction="
                    f"'{place.block.reduction}' a candidate whose gate is shut still takes its "
                    "place in the output. Use reduction='sum'."
                )
            if place.block.reduction == "mean":
                means.add(place.key)
    return means
