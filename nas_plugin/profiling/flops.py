"""How much a model computes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from nas_plugin.errors import NasError

Shape = Sequence[int]

#: Names of kernels that multiply matrices: one that nobody can count is refused, never taken for 0.
_MULTIPLIES = re.compile(r"mm$|rnn|attention|transformer|conv|lstm_mps|^(linear|_trilinear)$")


def count_flops(model: nn.Module, *inputs: Any) -> int:
    """Returns the floating-point operations of one forward pass, in evaluation mode.

    A multiplication and an addition are two operations, so this is twice the multiply-adds (MACs)
    that papers on image networks usually call FLOPs. Convolutions and matrix products are counted,
    those inside attention and recurrent layers too; element-wise operations are not. On the
    ``meta`` device nothing is computed.

    Args:
        model: Takes `inputs`.
        *inputs: Tensors on the model's device.

    Raises:
        NasError: If the model runs a kernel whose operations cannot be counted.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    try:
        # The fused kernels of attention hide the products that they are made of.
        with torch.no_grad(), _without_fast_attention(), counter, _Refuse():
            model(*inputs)
    finally:
        for module, training in modes:
            module.training = training
    return int(counter.get_total_flops())


def _formulas() -> dict[Any, Callable[..., int]]:
    """Returns the formulas of kernels that torch's counter takes for free."""
    named: dict[str, Callable[..., int]] = {
        "mv": _mv,
        "addmv": lambda _, matrix, vector, **__: _mv(matrix, vector),
        "dot": lambda x, y, **_: 2 * prod(x),
        "vdot": lambda x, y, **_: 2 * prod(x),
        "addbmm": lambda _, x, y, **__: 2 * prod(x) * y[-1],
        "mkldnn_rnn_layer": _one_rnn_layer,
        "_cudnn_rnn": _rnn_layers,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_fused_attention_overrideable": _attention,
        "_scaled_dot_product_attention_math_for_mps": _attention,
    }
    aten = torch.ops.aten
    return {getattr(aten, name): rule for name, rule in named.items() if hasattr(aten, name)}


def _mv(matrix: Shape, vector: Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Queries times keys, ``(…, L, D) x (…, S, D)``, and what results times values."""
    *batch, length, width = query
    return 2 * prod(batch) * length * key[-2] * (width + value[-1])


def _one_rnn_layer(x: Shape, from_input: Shape, from_state: Shape, *_: Any, **__: Any) -> int:
    """One layer in one direction: ``(L, N, I)``, and two matrices a step."""
    return 2 * prod(x[:-1]) * (prod(from_input) + prod(from_state))


def _rnn_layers(x: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    """All layers and directions: every matrix of the weights once a step."""
    return 2 * prod(x[:-1]) * sum(prod(weight) for weight in weights if len(weight) == 2)


class _Refuse(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises an error at a kernel that multiplies and has no formula."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {*flop_registry, *_formulas()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kernel = func._overloadpacket
        if kernel not in self._known and _MULTIPLIES.search(kernel.__name__):
            raise NasError(
                f"The model runs the kernel '{kernel}', whose operations cannot be counted. Count "
                "the model without that layer, or on the CPU or the 'meta' device, where torch "
                "may compute it by others."
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def _without_fast_attention() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
