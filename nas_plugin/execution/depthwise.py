"""Depthwise convolution of channels-last images that keeps their size, differentiable twice.

On the CPU torch's own backward of a depthwise convolution is several times slower than its forward.
Here the gradient of the input is a forward pass with the flipped kernel, and that of the kernel is
put together from 3x3 windows without dilation, for which torch has a fast path.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten


def depthwise(x: Tensor, kernel: Tensor, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """Convolves every channel with its own kernel, padded so that only the stride changes sizes.

    Args:
        x: ``(N, H, W, C)``.
        kernel: ``(C, 1, k, k)``, k odd.
        stride: Of both axes.
        dilation: Of both axes.

    Shape:
        - Output: ``(N, ceil(H / stride), ceil(W / stride), C)``
    """
    k = kernel.shape[-1]
    if x.device.type != "cpu" or k < 3:
        return _forward(x, kernel, dilation, stride)
    # The slow backward of a stride costs more than the outputs that are thrown away.
    y: Tensor = _Depthwise.apply(x, kernel, dilation)  # type: ignore[no-untyped-call]
    return y if stride == 1 else y[:, ::stride, ::stride]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.dilation = dilation
        return _forward(x, kernel, dilation)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel = ctx.saved_tensors
        grad = grad.contiguous()
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x = _Depthwise.apply(grad, kernel.flip(2, 3), ctx.dilation)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            of_kernel = _KernelGradient.apply(x, grad, kernel.shape[-1], ctx.dilation)  # type: ignore[no-untyped-call]
        return of_x, of_kernel, None


class _KernelGradient(torch.autograd.Function):
    """``sum over n, y, x of grad[n, y, x, c] * image[n, y + i, x + j, c]``, linear in both."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, k: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, grad)
        ctx.dilation = dilation
        return _kernel_gradient(x, grad, k, dilation)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, given = ctx.saved_tensors
        grad = grad.contiguous()
        of_x = of_given = None
        if ctx.needs_input_grad[0]:
            of_x = _Depthwise.apply(given, grad.flip(2, 3), ctx.dilation)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            of_given = _Depthwise.apply(x, grad, ctx.dilation)  # type: ignore[no-untyped-call]
        return of_x, of_given, None, None


def _forward(x: Tensor, kernel: Tensor, dilation: int, stride: int = 1) -> Tensor:
    padding = dilation * (kernel.shape[-1] // 2)
    image = x.permute(0, 3, 1, 2)
    y = F.conv2d(image, kernel, None, stride, padding, dilation, groups=x.shape[-1])
    return y.permute(0, 2, 3, 1).contiguous()


def _kernel_gradient(x: Tensor, grad: Tensor, k: int, dilation: int) -> Tensor:
    if dilation > 1:
        # Pixels that a dilated kernel sees together lie in one of dilation^2 phases.
        x, grad = _phases(x, dilation), _phases(grad, dilation)
    if k == 3:
        return _three_by_three(x, grad, padding=1)
    half, (height, width) = k // 2, x.shape[1:3]
    padded = F.pad(x, (0, 0, half, half, half, half))
    out = x.new_empty(x.shape[-1], 1, k, k)
    # Windows of three offsets that cover all k; where they overlap they agree.
    starts = [*range(0, k - 3, 3), k - 3]
    for i in starts:
        for j in starts:
            part = padded[:, i : i + height + 2, j : j + width + 2].contiguous()
            out[:, :, i : i + 3, j : j + 3] = _three_by_three(part, grad, padding=0)
    return out


def _three_by_three(x: Tensor, grad: Tensor, padding: int) -> Tensor:
    channels = x.shape[-1]
    shape = x.new_empty(channels, 1, 3, 3)
    found: Tensor = aten.convolution_backward(
        grad.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), shape, None,
        [1, 1], [padding, padding], [1, 1], False, [0, 0], channels, [False, True, False],
    )[1]  # fmt: skip
    return found


def _phases(x: Tensor, d: int) -> Tensor:
    """Returns every d-th pixel as an image of its own, ``(d * d * N, H / d, W / d, C)``."""
    n, height, width, c = x.shape
    if height % d or width % d:
        x = F.pad(x, (0, 0, 0, -width % d, 0, -height % d))
        height, width = x.shape[1:3]
    split = x.view(n, height // d, d, width // d, d, c)
    return split.permute(2, 4, 0, 1, 3, 5).reshape(d * d * n, height // d, width // d, c)
