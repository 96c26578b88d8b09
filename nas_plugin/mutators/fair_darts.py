"""FairDARTS: candidates do not compete; each has a sigmoid of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from nas_plugin.choice.decision import Decision
from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.mutators.mutator import MIXES, REPEATABLE

LOSSES = ("l2", "l1")


class FairDartsMutator(DifferentiableMutator, name="fair_darts"):
    """Mixes all candidates by ``sigmoid(alpha)``, and pushes each coefficient to 0 or 1.

    The zero-one loss is ``-weight * mean((sigmoid(alpha) - 1/2)^2)``, with the absolute value in
    place of the square for ``l1``.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits.
        scale: Standard deviation of the initial logits.
        zero_one: ``l2`` or ``l1``.
        zero_one_weight: Factor of the zero-one loss; 0 leaves it out.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Chu et al. 2020, https://arxiv.org/abs/1911.12126
    """

    gives = frozenset({MIXES, REPEATABLE})
    exclusive = False
    mixes = "independent"
    arch_settings: ClassVar[Mapping[str, Any]] = {"lr": 3e-3, "betas": (0.9, 0.999)}

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        zero_one: Literal["l2", "l1"] = "l2",
        zero_one_weight: float = 10.0,
    ) -> None:
        if zero_one not in LOSSES:
            raise OptionError(f"zero_one must be one of {', '.join(LOSSES)}, got {zero_one!r}.")
        if zero_one_weight < 0:
            raise OptionError(f"zero_one_weight must not be negative, got {zero_one_weight}.")
        super().__init__(model, seed=seed, scale=scale)
        self.zero_one, self.zero_one_weight = zero_one, zero_one_weight

    def relax(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() * self.valid

    def probabilities(self) -> Tensor:
        return self.relax(self.alphas)

    def penalty(self, decisions: Mapping[str, Decision]) -> Tensor | None:
        if self.zero_one_weight == 0:
            return None
        distance = self.alphas.sigmoid()[self.valid] - 0.5
        apart = distance.square() if self.zero_one == "l2" else distance.abs()
        return -self.zero_one_weight * apart.mean()
