"""Candidates that compute nothing."""

from __future__ import annotations

from torch import Tensor, nn

from nas_plugin.operations.conv import FactorizedReduce


class Zero(nn.Module):
    """Gives zeros.

    Args:
        stride: Stride of the operation.
        keep: Let an architecture hold it, as NAS-Bench-201 does. DARTS mixes it in and never
            keeps it.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, C, H / stride, W / stride)``
    """

    def __init__(self, stride: int = 1, *, keep: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.never_kept = not keep

    def forward(self, x: Tensor) -> Tensor:
        # Not x * 0, which would hand on NaN and infinity.
        out: Tensor = x.new_zeros(()).expand_as(x[:, :, :: self.stride, :: self.stride])
        return out


def skip_connect(c: int, stride: int = 1, *, affine: bool = True) -> nn.Module:
    """Returns the identity, or a factorized reduction where the stride is 2."""
    return nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine=affine)
