"""How large a model is."""

from __future__ import annotations

from torch import nn


def count_params(model: nn.Module) -> int:
    """Returns the number of parameters, each shared one counted once."""
    return sum(p.numel() for p in model.parameters())
