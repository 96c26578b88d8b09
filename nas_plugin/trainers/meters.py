"""Averages over an epoch, kept on the device until they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


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

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums = dict(state["sums"])
        self._weights = dict(state["weights"])
