"""Layers of several candidates as one: their channels lie side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_plugin.execution.forms import Norm


def pointwise(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Returns n pointwise convolutions, each of its own input.

    Args:
        x: ``(M, n, C)``.
        weights: n kernels ``(O, C, 1, 1)``.

    Shape:
        - Output: ``(M, n, O)``
    """
    if len(weights) == 1:
        return (x[:, 0] @ weights[0].flatten(1).t()).unsqueeze(1)
    stacked = torch.stack([weight.flatten(1) for weight in weights])
    y: Tensor = _Pointwise.apply(x, stacked)  # type: ignore[no-untyped-call]
    return y


class _Pointwise(torch.autograd.Function):
    """``y[m, n] = W[n] x[m, n]`` by one batched product that needs no transposed copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights)
        y = x.new_empty(x.shape[0], weights.shape[0], weights.shape[1])
        torch.bmm(x.transpose(0, 1), weights.transpose(1, 2), out=y.transpose(0, 1))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors
        of_x = of_weights = None
        if ctx.needs_input_grad[0]:
            of_x = _Pointwise.apply(grad, weights.transpose(1, 2))  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            of_weights = torch.bmm(grad.permute(1, 2, 0), x.transpose(0, 1))
        return of_x, of_weights


def batch_norm(
    y: Tensor, norms: Sequence[nn.BatchNorm2d], mode: Norm, scale: Tensor | None, *, update: bool
) -> Tensor:
    """Returns n batch norms side by side, each times its coefficient.

    Args:
        y: ``(M, n * C)``.
        norms: n batch norms of C channels, all in the same mode.
        mode: How they behave.
        scale: ``(n,)``; None multiplies by nothing.
        update: Whether running statistics are moved where the mode says so.
    """
    weight, bias = _scaled(norms, mode, scale)
    if not mode.batch:
        mean, var = _joined(norms, "running_mean"), _joined(norms, "running_var")
        return F.batch_norm(y, mean, var, weight, bias, False, 0.0, mode.eps)
    if not (mode.updates and update):
        return F.batch_norm(y, None, None, weight, bias, True, 0.0, mode.eps)
    # With momentum 1 torch hands out the batch's own statistics.
    mean, var = y.new_empty(y.shape[1]).zero_(), y.new_empty(y.shape[1]).zero_()
    out = F.batch_norm(y, mean, var, weight, bias, True, 1.0, mode.eps)
    move_statistics(norms, mode, mean, var)
    return out


def shared_batch_norm(
    y: Tensor, norms: Sequence[nn.BatchNorm2d], mode: Norm, scale: Tensor | None, *, update: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns what n batch norms of the same input have in common, and what each makes of it.

    Args:
        y: ``(M, C)``.
        norms: As in `batch_norm`.
        mode: As in `batch_norm`.
        scale: As in `batch_norm`.
        update: As in `batch_norm`.

    Returns:
        ``(M, C)``, by which all outputs are had as a multiple ``(n, C)`` or ``(n, 1)``, plus a
        shift ``(n, C)``; None multiplies by one, or shifts by nothing.
    """
    if mode.batch:
        if mode.updates and update:
            mean, var = y.new_empty(y.shape[1]).zero_(), y.new_empty(y.shape[1]).zero_()
            y = F.batch_norm(y, mean, var, None, None, True, 1.0, mode.eps)
            move_statistics(norms, mode, mean, var)
        else:
            y = F.batch_norm(y, None, None, None, None, True, 0.0, mode.eps)
        times = None if scale is None else scale.unsqueeze(1)
        if not mode.affine:
            return y, times, None
        weight = torch.stack([norm.weight for norm in norms])
        bias = torch.stack([norm.bias for norm in norms])
        return (y, weight, bias) if times is None else (y, weight * times, bias * times)
    means = torch.stack([_buffer(norm, "running_mean") for norm in norms])
    times = torch.stack([_buffer(norm, "running_var") for norm in norms]).add(mode.eps).rsqrt()
    if mode.affine:
        times = times * torch.stack([norm.weight for norm in norms])
    shift = -means * times
    if mode.affine:
        shift = shift + torch.stack([norm.bias for norm in norms])
    if scale is not None:
        times, shift = times * scale.unsqueeze(1), shift * scale.unsqueeze(1)
    return y, times, shift


@torch.no_grad()
def move_statistics(norms: Sequence[nn.BatchNorm2d], mode: Norm, mean: Tensor, var: Tensor) -> None:
    """Moves the running statistics of norms that saw batches side by side, or all the same one."""
    channels = norms[0].num_features
    means, variances = [mean] * len(norms), [var] * len(norms)
    if len(mean) == channels * len(norms):
        means, variances = list(torch.split(mean, channels)), list(torch.split(var, channels))
    torch._foreach_lerp_([_buffer(n, "running_mean") for n in norms], means, mode.momentum)
    torch._foreach_lerp_([_buffer(n, "running_var") for n in norms], variances, mode.momentum)
    counters = [n.num_batches_tracked for n in norms if n.num_batches_tracked is not None]
    if counters:
        torch._foreach_add_(counters, 1)


def _scaled(
    norms: Sequence[nn.BatchNorm2d], mode: Norm, scale: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Returns weight and bias of the joined norm, ``(n * C,)`` each."""
    channels = norms[0].num_features
    weight = torch.cat([norm.weight for norm in norms]) if mode.affine else None
    bias = torch.cat([norm.bias for norm in norms]) if mode.affine else None
    if scale is None:
        return weight, bias
    # With one norm the expanded scale has stride 0, of which batch_norm makes wrong gradients.
    wide = scale.unsqueeze(1).expand(len(norms), channels).reshape(-1).contiguous()
    if weight is None or bias is None:
        return wide, torch.zeros_like(wide)
    return weight * wide, bias * wide


def _joined(norms: Sequence[nn.BatchNorm2d], name: str) -> Tensor:
    return torch.cat([_buffer(norm, name) for norm in norms])


def _buffer(norm: nn.BatchNorm2d, name: str) -> Tensor:
    found = norm._buffers[name]
    assert found is not None
    return found
