"""Which weights decay."""

from __future__ import annotations

from typing import Any

from torch import nn


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns parameter groups in which only weights of two and more dimensions decay.

    Biases and the scales of normalisation do not, as in the authors' code of SPOS. One-dimensional
    parameters hold them all.

    Args:
        model: The network.
        weight_decay: Of those that decay.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
