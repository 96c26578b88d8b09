"""Averages over an epoch, kept on the device until they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nas_plugin.errors import TrainingError
from nas_plugin.runtime import Ranks


class Meters:
    """Weighted means of named values.

    Reading costs one transfer from the device; adding costs none.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: Mapping[str, Tensor | float], weight: float = 1.0) -> None:
        """Adds one value a name; `weight` is the number of samples it stands for."""
        for name, value in values.items():
            term = torch.as_tensor(value).detach().to(torch.float64) * weight
            # What came from a checkpoint lies on the CPU.
            known = self._sums.get(name)
            self._sums[name] = term if known is None else known.to(term.device) + term
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def means(self) -> dict[str, float]:
        """Returns the mean of every name so far."""
        return {name: float(total) / self._weights[name] for name, total in self._sums.items()}

    def state_dict(self, ranks: Ranks | None = None) -> dict[str, Any]:
        """Returns the sums; with `ranks`, which all of them must call, those of every rank."""
        state: dict[str, Any] = {"sums": dict(self._sums), "weights": dict(self._weights)}
        if ranks is not None and ranks.world_size > 1:
            state["ranks"] = ranks.gather(self._sums)
        return state

    def load_state_dict(self, state: Mapping[str, Any], rank: int = 0, world_size: int = 1) -> None:
        """Restores what `state_dict` returned, each rank its own.

        Other numbers of ranks all begin with the mean, from which the same means follow.
        """
        self._sums, self._weights = dict(state["sums"]), dict(state["weights"])
        of_ranks = state.get("ranks")
        if of_ranks is None:
            return
        if len(of_ranks) == world_size:
            self._sums = dict(of_ranks[rank])
        else:
            means = {n: torch.stack([sums[n] for sums in of_ranks]).mean() for n in of_ranks[0]}
            self._sums = means


def check_finite(values: Mapping[str, Tensor | float], step: int, epoch: int) -> None:
    """Refuses a loss that is not finite.

    Raises:
        TrainingError: If it is not.
    """
    value = float(values.get("loss", 0.0))
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss is {value} at step {step} (epoch {epoch}). Lower the learning rate, set "
            "grad_clip, or check the data; the last checkpoint is kept."
        )
