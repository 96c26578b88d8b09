"""DARTS: every candidate runs, mixed by a softmax."""

from __future__ import annotations

from torch import Tensor

from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.mutators.mutator import MIXES, REPEATABLE


class DartsMutator(DifferentiableMutator, name="darts"):
    """Mixes all candidates by ``softmax(alpha)``.

    References:
        Liu et al. 2019, https://arxiv.org/abs/1806.09055
    """

    gives = frozenset({MIXES, REPEATABLE})

    def relax(self, logits: Tensor) -> Tensor:
        return self.masked_softmax(logits)
