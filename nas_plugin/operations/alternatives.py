"""Other layers of the same shape, for rules that annotate a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from nas_plugin.errors import OptionError


def conv_alternatives(
    conv: nn.Module, kernels: Sequence[int] = (1, 3, 5), *, separable: bool = True
) -> dict[str, nn.Module]:
    """Returns convolutions from and to the shapes of `conv`, where it lies and of its type.

    Args:
        conv: An `nn.Conv2d` that keeps the size apart from its stride.
        kernels: Odd sizes; that of `conv` itself is left out.
        separable: Add, for each size above 1, a depthwise convolution followed by a pointwise one.
            A convolution of several groups gets none.

    Raises:
        OptionError: If `conv` is something else, or a kernel is even.
    """
    if not isinstance(conv, nn.Conv2d) or conv.transposed:
        raise OptionError(f"conv_alternatives takes an nn.Conv2d, got a {type(conv).__name__}.")
    if any(kernel % 2 == 0 or kernel < 1 for kernel in kernels):
        raise OptionError(f"Kernel sizes must be odd, so that shapes are kept; got {kernels}.")
    if not _keeps_size(conv):
        raise OptionError(
            f"{conv} changes the size beyond its stride, so no other kernel size gives its shape. "
            "Narrow the rule, or write the candidates yourself."
        )
    c_in, c_out, bias = conv.in_channels, conv.out_channels, conv.bias is not None
    make = partial(nn.Conv2d, device=conv.weight.device, dtype=conv.weight.dtype)
    found: dict[str, nn.Module] = {}
    for kernel in kernels:
        place: dict[str, Any] = {"stride": conv.stride, "padding": kernel // 2}
        if (kernel, kernel) != conv.kernel_size:
            found[f"conv{kernel}x{kernel}"] = make(
                c_in, c_out, kernel, groups=conv.groups, bias=bias, **place
            )
        if separable and kernel > 1 and conv.groups == 1:
            found[f"sepconv{kernel}x{kernel}"] = nn.Sequential(
                make(c_in, c_in, kernel, groups=c_in, bias=False, **place),
                make(c_in, c_out, 1, bias=bias),
            )
    return found


def _keeps_size(conv: nn.Conv2d) -> bool:
    if isinstance(conv.padding, str):
        return conv.padding == "same"
    sides = zip(conv.kernel_size, conv.dilation, conv.padding, strict=True)
    return all(2 * padding == dilation * (kernel - 1) for kernel, dilation, padding in sides)
