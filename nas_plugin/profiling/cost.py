"""What a network costs, in one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nas_plugin.profiling.flops import count_flops
from nas_plugin.profiling.params import count_params


@dataclass(frozen=True)
class Profile:
    """The cost of one sample.

    Args:
        params: Parameters, shared ones once.
        flops: Floating-point operations of a forward pass: twice the multiply-adds.
    """

    params: int
    flops: int

    @property
    def macs(self) -> int:
        """Multiply-adds, which papers on image networks usually call FLOPs."""
        return self.flops // 2

    def __str__(self) -> str:
        return f"{self.params:,} parameters, {self.flops:,} FLOPs ({self.macs:,} multiply-adds)"


def profile(model: nn.Module, input_shape: Sequence[int]) -> Profile:
    """Returns what one sample of `input_shape` costs, in evaluation mode.

    Args:
        model: A model of one input. On the ``meta`` device nothing is computed.
        input_shape: Without the batch: ``(C, H, W)`` for images.
    """
    some = next(model.parameters(), torch.empty(()))
    x = torch.zeros(1, *input_shape, device=some.device, dtype=some.dtype)
    return Profile(count_params(model), count_flops(model, x))
