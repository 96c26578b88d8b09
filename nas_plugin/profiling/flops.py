"""How much a model computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, *inputs: Any) -> int:
    """Returns the floating-point operations of one forward pass, in evaluation mode.

    A multiplication and an addition are two operations, so this is twice the multiply-adds (MACs)
    that papers on image networks usually call FLOPs. Convolutions and matrix products are counted,
    element-wise operations are not. On the ``meta`` device nothing is computed.

    Args:
        model: Takes `inputs`.
        *inputs: Tensors on the model's device.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*inputs)
    finally:
        for module, training in modes:
            module.training = training
    return int(counter.get_total_flops())
