"""XNAS: candidates are experts, reweighted by exponentiated gradients and wiped out for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.mutators.mutator import MIXES, REPEATABLE


class XnasMutator(DifferentiableMutator, name="xnas"):
    """Mixes the experts' outputs f_i by ``v_i / sum_j v_j``; the logits are ``log v``.

    A step multiplies v_i by ``exp(eta R_i)``, where ``R_i = -<dL/dF, f_i>``, clipped at G, is minus
    the derivative at expert i's coefficient and ``eta = sqrt(2 ln K / T) / G``. After step t every
    expert with ``v_i < max v exp(-2 eta G (T - t))`` cannot win any more: it is dropped, and not
    computed again. A choice of m inputs keeps at least m; gates of any number are two experts,
    open and shut, that are not dropped.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits.
        scale: Standard deviation of the initial logits; all experts weigh the same in the paper.
        bound: G, at which rewards are clipped.
        steps: T, the steps of the logits; by default as many as the trainer plans.

    Attributes:
        alive: ``(B, K)``, the experts that are left.
        done: Steps of the logits so far.

    Raises:
        OptionError: If an argument is not positive, or a step is due and T is not known.

    References:
        Nayman et al. 2019, https://arxiv.org/abs/1906.08031
    """

    gives = frozenset({MIXES, REPEATABLE})
    sparse = True

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 0.0,
        bound: float = 1.0,
        steps: int | None = None,
    ) -> None:
        if not bound > 0 or (steps is not None and steps < 1):
            raise OptionError(f"bound and steps must be positive, got {bound} and {steps}.")
        super().__init__(model, seed=seed, scale=scale)
        self.bound, self._given_steps, self._planned = bound, steps, 0
        self.alive: Tensor
        self.done: Tensor
        self.register_buffer("alive", self.valid.clone())
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        experts = torch.where(self.independent, 2, self.valid.sum(dim=1, keepdim=True))
        self._log_experts: Tensor
        self.register_buffer("_log_experts", experts.double().log(), persistent=False)

    def add_betas(self) -> None:
        raise OptionError(
            "XNAS has experts of candidates, none of edges, so edge normalisation cannot be "
            "combined with it. Search without betas, or with darts, gdas or another mutator."
        )

    def plan(self, arch_steps: int) -> None:
        self._planned = arch_steps

    @property
    def steps(self) -> int:
        """T."""
        found = self._given_steps or self._planned
        if found < 1:
            raise OptionError(
                "XnasMutator does not know how many steps its logits will take. Train it with a "
                "trainer of logits such as DartsTrainer, or give steps."
            )
        return found

    def rates(self) -> Tensor:
        """Returns eta of every row, ``(B, 1)``."""
        eta = (2 * self._log_experts / self.steps).sqrt() / self.bound
        return eta.to(self.alphas.dtype)

    def relax(self, logits: Tensor) -> Tensor:
        p = logits.detach().masked_fill(~self.alive, float("-inf")).softmax(dim=1)
        # A gradient of 1: what arrives at a logit is the derivative at its coefficient.
        return p + (logits - logits.detach()) * self.alive

    def gates(self, logits: Tensor) -> Tensor:
        return logits.detach().sigmoid() + (logits - logits.detach())

    def active(self, mixes: Tensor) -> list[tuple[int, ...]]:
        return [
            tuple(i for i in every if row[i])
            for row, every in zip(self.alive.tolist(), self._all, strict=True)
        ]

    def probabilities(self) -> Tensor:
        # Dropped experts come last, in the order in which they were left.
        logits = torch.where(self.alive, self.alphas, self.alphas - 60.0)
        lowest = self.alphas.masked_fill(~self.alive, float("inf")).amin(dim=1, keepdim=True)
        logits = torch.where(self.alive, logits, logits.minimum(lowest - 1.0))
        return self._with_gates(self.masked_softmax(logits), self.alphas.sigmoid())

    def arch_optimizer(self, params: list[nn.Parameter]) -> Optimizer:
        return ExponentiatedGradient(params, self.rates, bound=self.bound)

    @torch.no_grad()
    def after_arch_step(self) -> None:
        self.done += 1
        left = max(0, self.steps - int(self.done))
        logits = self.alphas.masked_fill(~self.alive, float("-inf"))
        ranked = logits.sort(dim=1, descending=True).values
        best = ranked.gather(1, self.n_chosen - 1)
        lost = logits < best - 2 * self.rates() * self.bound * left
        self.alive &= ~lost | self.independent


class ExponentiatedGradient(Optimizer):
    """Multiplies weights ``v = exp(p)`` by ``exp(-eta * gradient)``, in place.

    Args:
        params: Logarithms of weights.
        rates: Gives eta, in a shape that broadcasts to each parameter.
        bound: Gradients are clipped to ``[-bound, bound]``, entry by entry.
    """

    def __init__(
        self, params: list[nn.Parameter], rates: Callable[[], Tensor], *, bound: float
    ) -> None:
        super().__init__(params, {"bound": bound})
        self.rates = rates

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise OptionError("ExponentiatedGradient takes no closure.")
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.sub_(self.rates() * param.grad.clamp(-group["bound"], group["bound"]))
