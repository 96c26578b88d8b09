"""One call of the native library each way, as a function that autograd knows.

A call is described by one array of 64-bit integers: sizes, candidates, norms, pointers, in the
order in which ``csrc/plan.h``, ``forward.h`` and ``backward.h`` read them.
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.execution.build import library
from nas_plugin.execution.executor import Plan
from nas_plugin.execution.forms import Form, Recognised
from nas_plugin.execution.wide import WidePlan, mixture

KINDS = {
    "zero": 0, "identity": 1, "max_pool": 2, "avg_pool": 3, "relu_conv_norm": 4,
    "conv_norm_relu": 4, "conv": 4, "reduce": 5, "separable": 6,
}  # fmt: skip
RELU_BEFORE, NORMED, AFFINE, RELU_AFTER, COUNTS_PADDING = 1, 2, 4, 8, 16
TYPES = {torch.float32: "float", torch.float64: "double"}


@dataclass(frozen=True, eq=False)
class NativePlan(Plan):
    """Rows of equal structure, and where their tensors are found.

    Args:
        columns: Per candidate, its index k and the T modules.
        c_in: Channels of the input; None where any number goes through.
        c_out: Channels of the outputs, as `c_in`.
        stride: Stride of all candidates.
        wide: The same in pure PyTorch, which differentiates twice.
    """

    columns: Sequence[tuple[int, Sequence[Recognised]]] = ()
    c_in: int | None = None
    c_out: int | None = None
    stride: int = 1
    wide: WidePlan | None = None
    needs_spread: bool = field(init=False)  # a norm uses the batch's own statistics
    weights: list[tuple[dict[str, Any], str]] = field(init=False)
    buffers: list[dict[str, Any]] = field(init=False)
    updates: list[bool] = field(init=False)
    described: list[int] = field(init=False)

    def __post_init__(self) -> None:
        found = [(k, rows[0].form, rows) for k, rows in self.columns]
        described = [len(self.rows), self.stride, len(found)]
        norms = [f.norm for _, f, rows in found for _ in rows[0].norms if f.norm is not None]
        described.append(len(norms))
        for k, form, _ in found:
            described += [KINDS[form.kind], form.kernel, form.dilation, form.steps, _flags(form), k]
        for norm in norms:
            described += [_bits(norm.eps), _bits(norm.momentum), int(norm.batch)]
        set_ = object.__setattr__
        set_(self, "described", described)
        set_(self, "needs_spread", any(norm.batch for norm in norms))
        # Roles in the order of the library's parameters and norms; in each, one module a row.
        owners = [owner for _, _, rows in found for owner in _owners(rows)]
        set_(self, "weights", [(module._parameters, name) for module, name in owners])
        each = [norm for _, _, rows in found for role in zip(*[r.norms for r in rows], strict=True)
                for norm in role]  # fmt: skip
        set_(self, "buffers", [norm._buffers for norm in each])
        # The running statistics are read in eval mode and written in training.
        set_(self, "updates", [n.updates or not n.batch for n in norms for _ in self.rows])


def _bits(value: float) -> int:
    bits: int = struct.unpack("q", struct.pack("d", value))[0]
    return bits


def _flags(form: Form) -> int:
    flags = COUNTS_PADDING if form.counts_padding else 0
    if form.kind in ("relu_conv_norm", "reduce", "separable"):
        flags |= RELU_BEFORE
    if form.kind == "conv_norm_relu":
        flags |= RELU_AFTER
    if form.norm is not None:
        flags |= NORMED | (AFFINE if form.norm.affine else 0)
    return flags


def _owners(rows: Sequence[Recognised]) -> list[tuple[nn.Module, str]]:
    """Returns the owners of a candidate's parameters: role by role, in each one module a row.

    The weights of the convolutions before a norm come first, then the norm's two, if it has any.
    """
    each = []
    for row in rows:
        own: list[tuple[nn.Module, str]] = []
        step = len(row.convs) // max(1, len(row.norms))
        for i in range(max(1, len(row.norms))):
            own += [(conv, "weight") for conv in row.convs[i * step : (i + 1) * step]]
            if row.norms and row.norms[i].affine:
                own += [(row.norms[i], "weight"), (row.norms[i], "bias")]
        each.append(own)
    return [one for role in zip(*each, strict=True) for one in role]


def run(x: Tensor, plan: NativePlan, mix: Tensor | None) -> list[Tensor]:
    """Returns the T outputs of `plan` on `x`."""
    x = x.contiguous(memory_format=torch.channels_last)
    weights = [owner[name] for owner, name in plan.weights]
    dtype, (n, _, height, width) = x.dtype, x.shape
    if plan.needs_spread and n * -(-height // plan.stride) * -(-width // plan.stride) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}"
        )
    for weight in weights:
        if weight.dtype != dtype or not weight.is_cpu:
            raise RuntimeError(
                f"Input type ({dtype}, cpu) and weight type ({weight.dtype}, {weight.device}) "
                "should be the same"
            )
    outs: tuple[Tensor, ...] = _FanOut.apply(plan, x, mix, *weights)  # type: ignore[no-untyped-call]
    return list(outs)


class _FanOut(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: NativePlan, x: Tensor, mix: Tensor | None, *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        n, c_in, height, width = x.shape
        c_out = c_in if plan.c_out is None else plan.c_out
        head = _head(plan, x, mix)
        sizes = array("q", (0, 0, 0))
        described = array("q", head)
        _checked(
            library().nas_sizes(_address(described), int(x.dtype == torch.float64), _address(sizes))
        )
        kept = x.new_empty(sizes[0])
        stat = torch.empty(sizes[1], dtype=torch.float64)
        out_height, out_width = (height - 1) // plan.stride + 1, (width - 1) // plan.stride + 1
        outs = [_empty(n, c_out, out_height, out_width, x) for _ in plan.rows]
        read, orders = _in_order(plan, weights)
        dense = None if mix is None else mix.detach().contiguous()
        message = [
            *head, x.data_ptr(), 0 if dense is None else dense.data_ptr(), kept.data_ptr(),
            stat.data_ptr(), *orders, *[w.data_ptr() for w in read],
        ]  # fmt: skip
        for buffers, used in zip(plan.buffers, plan.updates, strict=True):
            if used:
                for name in ("running_mean", "running_var", "num_batches_tracked"):
                    message.append(buffers[name].data_ptr())
            else:
                message += (0, 0, 0)
        message += [out.data_ptr() for out in outs]
        _call("nas_forward_", x.dtype, message)
        ctx.plan = plan
        ctx.save_for_backward(x, mix, kept, stat, *weights)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, mix, kept, stat, *weights = ctx.saved_tensors
        plan = ctx.plan
        if torch.is_grad_enabled():
            return (None, *_twice_differentiable(plan, x, mix, weights, gradients))
        n, c_in, height, width = x.shape
        # What this very pass asks for: the logits' pass wants no gradient of the weights.
        nodes = [node for node, _ in ctx.next_functions]
        wants_x = _is_wanted(nodes[0])
        wants_weights = any(map(_is_wanted, nodes[len(nodes) - len(weights) :]))
        given = [
            None if g is None else g.contiguous(memory_format=torch.channels_last)
            for g in gradients
        ]
        read, orders = _in_order(plan, weights)
        dense = None if mix is None else mix.detach().contiguous()
        gx = _empty(n, c_in, height, width, x) if wants_x else None
        gmix = None if dense is None else torch.zeros_like(dense)
        made = _gradients_of(read, orders) if wants_weights else []
        message = [
            *_head(plan, x, mix), x.data_ptr(), 0 if dense is None else dense.data_ptr(),
            kept.data_ptr(), stat.data_ptr(), *orders, *[w.data_ptr() for w in read],
            *[0 if g is None else g.data_ptr() for g in given],
            0 if gx is None else gx.data_ptr(), 0 if gmix is None else gmix.data_ptr(),
            *([g.data_ptr() for g in made] if wants_weights else [0] * len(read)),
        ]  # fmt: skip
        _call("nas_backward_", x.dtype, message)
        rows = len(plan.rows)
        # A row whose output was not used gives its weights no gradient, rather than zeros.
        own = [None if given[i % rows] is None else made[i] if made else None
               for i in range(len(read))]  # fmt: skip
        return (None, gx, gmix, *own)


def _twice_differentiable(
    plan: NativePlan,
    x: Tensor,
    mix: Tensor | None,
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Returns the gradients of x, the mix and the weights, as a graph (``create_graph=True``)."""
    leaves = [x, mix, *weights]
    # A module that is two candidates hands its weight over twice; its gradient belongs to one.
    wanted: dict[Any, Tensor] = {}
    owner: dict[Any, int] = {}
    for i, leaf in enumerate(leaves):
        if leaf is not None and leaf.requires_grad:
            key = id(leaf) if leaf.grad_fn is None else (id(leaf.grad_fn), leaf.output_nr)
            wanted.setdefault(key, leaf)
            owner.setdefault(key, i)
    with torch.enable_grad(), _held(plan, weights):
        assert plan.wide is not None
        outs = mixture(x, plan.wide, mix, update=False)
        pairs = [
            (out, g)
            for out, g in zip(outs, gradients, strict=True)
            if g is not None and out.requires_grad
        ]
        found = torch.autograd.grad(
            [out for out, _ in pairs], list(wanted.values()), [g for _, g in pairs],
            create_graph=True, allow_unused=True,
        )  # fmt: skip
    own: list[Tensor | None] = [None] * len(leaves)
    for key, gradient in zip(wanted, found, strict=True):
        own[owner[key]] = gradient
    return own


@contextmanager
def _held(plan: NativePlan, weights: Sequence[Tensor]) -> Iterator[None]:
    """Lets the modules hold the weights of the forward pass, which may have been lent to them."""
    before = [owner[name] for owner, name in plan.weights]
    try:
        for (owner, name), weight in zip(plan.weights, weights, strict=True):
            owner[name] = weight
        yield
    finally:
        for (owner, name), weight in zip(plan.weights, before, strict=True):
            owner[name] = weight


def _head(plan: NativePlan, x: Tensor, mix: Tensor | None) -> list[int]:
    n, c_in, height, width = x.shape
    return [
        torch.get_num_threads(), n, height, width, 1 if mix is None else mix.shape[1],
        c_in, c_in if plan.c_out is None else plan.c_out, *plan.described,
    ]  # fmt: skip


def _in_order(plan: NativePlan, weights: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Returns the weights as the library can read them, and per role whether channels are last."""
    read, orders, rows = list(weights), [], len(plan.rows)
    for start in range(0, len(read), rows):
        role = read[start : start + rows]
        last = False
        if not all(w.is_contiguous() for w in role):
            last = all(w.is_contiguous(memory_format=torch.channels_last) for w in role)
            if not last:
                read[start : start + rows] = [w.contiguous() for w in role]
        orders.append(int(last))
    return read, orders


def _gradients_of(weights: list[Tensor], orders: Sequence[int]) -> list[Tensor]:
    """Returns room for the weights' gradients, of their strides: optimizers are faster with it."""
    if any(orders):
        return [torch.empty_like(w) for w in weights]
    flat = weights[0].new_empty(sum(w.numel() for w in weights))
    return list(torch._C._nn.unflatten_dense_tensors(flat, weights))


def _is_wanted(node: Any) -> bool:
    if node is None:
        return False
    try:
        wanted: bool = torch._C._will_engine_execute_node(node)
    except RuntimeError:
        # The node of a leaf that autograd.grad was asked for.
        return True
    return wanted


def _empty(n: int, c: int, height: int, width: int, like: Tensor) -> Tensor:
    return like.new_empty((n, height, width, c)).permute(0, 3, 1, 2)


def _call(name: str, dtype: torch.dtype, message: list[int]) -> None:
    packed = array("q", message)
    _checked(getattr(library(), name + TYPES[dtype])(_address(packed)))


def _address(numbers: array[int]) -> Any:
    return ctypes.c_void_p(numbers.buffer_info()[0])


def _checked(error: bytes | None) -> None:
    if error:
        raise RuntimeError(f"The native executor failed: {error.decode()}. Use execution='wide'.")
