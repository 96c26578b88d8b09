"""Other layers of the same shape, for rules that annotate a model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from nas_plugin.errors import OptionError


def conv_alternatives(
    conv: nn.Module, kernels: Sequence[int] = (1, 3, 5), *, separable: bool = True
) -> dict[str, nn.Module]:
    """Returns convolutions from and to the shapes of `conv`.

    Args:
        conv: An `nn.Conv2d` that keeps the size apart from its stride.
        kernels: Odd sizes; that of `conv` itself is left out.
        separable: Add, for each size above 1, a depthwise convolution followed by a pointwise one.

    Raises:
        OptionError: If `conv` is something else, or a kernel is even.
    """
    if not isinstance(conv, nn.Conv2d):
        raise OptionError(f"conv_alternatives takes an nn.Conv2d, got a {type(conv).__name__}.")
    if any(kernel % 2 == 0 or kernel < 1 for kernel in kernels):
        raise OptionError(f"Kernel sizes must be odd, so that shapes are kept; got {kernels}.")
    c_in, c_out, stride, bias = (
        conv.in_channels,
        conv.out_channels,
        conv.stride[0],
        conv.bias is not None,
    )
    found: dict[str, nn.Module] = {}
    for kernel in kernels:
        padding = kernel // 2
        if (kernel, kernel) != conv.kernel_size:
            found[f"conv{kernel}x{kernel}"] = nn.Conv2d(
                c_in, c_out, kernel, stride, padding, bias=bias
            )
        if separable and kernel > 1:
            found[f"sepconv{kernel}x{kernel}"] = nn.Sequential(
                nn.Conv2d(c_in, c_in, kernel, stride, padding, groups=c_in, bias=False),
                nn.Conv2d(c_in, c_out, 1, bias=bias),
            )
    return found
