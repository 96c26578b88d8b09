"""Optimizers that step all parameters in one call, where torch has such."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

#: Those whose fused step is the same formula.
KINDS = (SGD, Adam, AdamW)


def fuse(optimizer: Optimizer) -> bool:
    """Lets `optimizer` step all its parameters at once; says whether it can.

    Whoever set ``fused`` or ``foreach`` has chosen, and keeps it.
    """
    if type(optimizer) not in KINDS:
        return False
    params = [param for group in optimizer.param_groups for param in group["params"]]
    if any(group.get("dampening") for group in optimizer.param_groups):
        return False  # a first gradient is not dampened, which `same_layouts` could not say
    chosen = any(
        group.get(name) for group in optimizer.param_groups
        for name in ("fused", "foreach", "differentiable", "capturable")
    )  # fmt: skip
    kinds = {(param.device, param.dtype) for param in params}
    if chosen or any(torch.is_tensor(group["lr"]) for group in optimizer.param_groups):
        return False
    if not all(_works(type(optimizer), device, dtype) for device, dtype in kinds):
        return False
    for group in optimizer.param_groups:
        group["fused"] = True
    return True


def is_fused(optimizer: Optimizer) -> bool:
    """Says whether a step of `optimizer` is one call."""
    return any(group.get("fused") for group in optimizer.param_groups)


@torch.no_grad()
def same_layouts(optimizer: Optimizer, params: Iterable[nn.Parameter]) -> None:
    """Lays out gradients and state as the parameters are, before a fused step.

    On a CPU such a step reads all of them as one run of numbers: a plain gradient of weights with
    channels last would be applied to the wrong weights, and nothing would say so. Weights that get
    their first gradient after others, as of sampled candidates, start with a momentum of zero:
    torch's step wants all of its momenta or none.
    """
    params = list(params)
    _fill_momenta(optimizer, params)
    for param in params:
        if param.dim() < 2 or param.grad is None:
            continue
        strides = param.stride()
        if param.grad.stride() != strides:
            param.grad = torch.empty_like(param).copy_(param.grad)
        state = optimizer.state.get(param, {})
        for name, value in state.items():
            if torch.is_tensor(value) and value.dim() > 1 and value.stride() != strides:
                state[name] = torch.empty_like(param).copy_(value)


def _fill_momenta(optimizer: Optimizer, params: list[nn.Parameter]) -> None:
    if not isinstance(optimizer, SGD) or not any(g["momentum"] for g in optimizer.param_groups):
        return
    stepped = [param for param in params if param.grad is not None]
    missing = [p for p in stepped if optimizer.state[p].get("momentum_buffer") is None]
    if len(missing) < len(stepped):
        for param in missing:
            optimizer.state[param]["momentum_buffer"] = torch.zeros_like(param)


def _works(kind: type[Optimizer], device: torch.device, dtype: torch.dtype) -> bool:
    """Tries a fused step of one number: which devices and types have it differs by version."""
    if not dtype.is_floating_point:
        return False
    param = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
    param.grad = torch.zeros_like(param)
    try:
        kind([param], lr=0.1, fused=True).step()  # type: ignore[call-arg]
    except (RuntimeError, TypeError, NotImplementedError):
        return False
    return True
