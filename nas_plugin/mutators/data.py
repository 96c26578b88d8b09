"""DATA: the union of several straight-through draws."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError
from nas_plugin.mutators._gumbel import GumbelMutator


class DataMutator(GumbelMutator, name="data"):
    """Runs what M draws by Gumbel-softmax chose: the element-wise maximum of M one-hots.

    The gradient of an entry is that of the relaxations that agree on it, averaged over them.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits and all draws.
        scale: Standard deviation of the initial logits.
        draws: M; the paper has 4 and 7.
        tau_start: Temperature of the first epoch.
        tau_end: Temperature of the last epoch, reached linearly.
        normalise: Divide by the number of chosen candidates, as the authors' public code does.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Chang et al. 2019, https://arxiv.org/abs/1905.01786
    """

    sparse = True
    mixes = "hard"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1e-3,
        draws: int = 4,
        tau_start: float = 5.0,
        tau_end: float = 1.0,
        normalise: bool = False,
    ) -> None:
        if draws < 1:
            raise OptionError(f"draws must be at least 1, got {draws}.")
        super().__init__(model, seed=seed, scale=scale, tau_start=tau_start, tau_end=tau_end)
        self.draws, self.normalise = draws, normalise

    def relax(self, logits: Tensor) -> Tensor:
        # amax shares the gradient evenly among the draws that hold the maximum, so that a sum of 1
        # that normalises has none, whatever was drawn.
        union = torch.stack([self.drawn(logits) for _ in range(self.draws)]).amax(dim=0)
        return union / union.sum(dim=1, keepdim=True) if self.normalise else union
