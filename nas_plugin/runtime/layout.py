"""Memory layout of images: channels last where the model allows it and nothing is at risk."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas_plugin.choice.isolate import isolated
from nas_plugin.execution import layout_advice

_log = logging.getLogger(__name__)

#: Channels of the widest vector of float32 (AVX-512).
VECTOR = 16


class Layout:
    """Lays out images and the weights of their convolutions, channels last if the model allows it.

    The layout is chosen on the first batch: channels last is kept if the model, in evaluation mode,
    gives with it what it gives without it. A model that fails later with channels last (in a
    candidate that the first batch did not run) continues plain.

    Args:
        channels_last: Whether channels last is wanted; False lays everything out plain, None asks
            what is faster for the model (`nas_plugin.execution.layout_advice`).

    Attributes:
        chosen: The memory format; None before the first batch.
    """

    def __init__(self, channels_last: bool | None) -> None:
        self.chosen: torch.memory_format | None = None
        self._wanted = channels_last

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        """Returns the model's output; inputs that are not images pass as they are.

        The batch stays as it is, even if the model's first layer works in place: other passes of
        the same step read it too.
        """
        if not isinstance(inputs, Tensor) or inputs.dim() != 4:
            return isolated(model, inputs)
        if self.chosen is None:
            self._choose(model, inputs)
        if self.chosen == torch.contiguous_format:
            return isolated(model, inputs.contiguous())
        try:
            return isolated(model, inputs.contiguous(memory_format=torch.channels_last))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = f"the model fails with it ({error})"
        # Statistics of layers before the failing one have seen this batch twice from here on. An
        # error that has nothing to do with the layout comes again, and ends the run.
        self._lay_out(model, torch.contiguous_format)
        output = isolated(model, inputs.contiguous())
        _say(reason)
        return output

    def state_dict(self) -> dict[str, Any]:
        """Returns the choice, so that a resumed run computes in the same layout."""
        return {"channels_last": None if self.chosen is None else self._is_last}

    def load_state_dict(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Restores the choice for a model."""
        if state["channels_last"] is not None:
            last = state["channels_last"] and strided_pointwise(model) is None
            self._lay_out(model, torch.channels_last if last else torch.contiguous_format)

    @property
    def _is_last(self) -> bool:
        return self.chosen == torch.channels_last

    def _choose(self, model: nn.Module, images: Tensor) -> None:
        wanted = layout_advice(model)[0] if self._wanted is None else self._wanted
        if wanted:
            reason = reason_against(model, images)
            if reason is None:
                self._lay_out(model, torch.channels_last)
                return
            _say(reason)
        self._lay_out(model, torch.contiguous_format)

    def _lay_out(self, model: nn.Module, layout: torch.memory_format) -> None:
        _lay_out(model, layout)
        self.chosen = layout


def reason_against(model: nn.Module, images: Tensor) -> str | None:
    """Returns why a model cannot run with channels last; None if it can.

    Args:
        model: The network, laid out plain or not.
        images: The batch ``(N, C, H, W)`` that it is tried on.
    """
    if images.device.type == "cpu":
        name = strided_pointwise(model)
        if name is not None:
            return _of_convolution(f"'{name}'")
    plain, watch = _outputs(model, images, torch.contiguous_format)
    if watch.found and images.device.type == "cpu":
        return _of_convolution("one that the model's own code calls")
    try:
        laid_out, _ = _outputs(model, images, torch.channels_last)
    except RuntimeError as error:
        return f"the model fails with it ({error})"
    if not _same(plain, laid_out):
        return "the model's output depends on the layout"
    return None


def strided_pointwise(model: nn.Module) -> str | None:
    """Returns the name of a convolution that channels last is dangerous for on a CPU, or None.

    Where a pointwise convolution with a stride has fewer channels than a vector holds numbers, the
    weight gradient of oneDNN writes past its workspace when channels are last, which ends the
    process or corrupts other tensors (https://github.com/uxlfoundation/oneDNN/issues/6035). A
    vector has 8 numbers with AVX2, 16 with AVX-512; the answer is the same on every machine.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and _is_dangerous(
            module.weight, module.stride, module.groups
        ):
            return name or type(module).__name__
    return None


def _is_dangerous(weight: Tensor, stride: Any, groups: int) -> bool:
    pointwise = weight.dim() == 4 and all(size == 1 for size in weight.shape[2:])
    return pointwise and groups == 1 and max(stride) > 1 and weight.shape[1] < VECTOR


def _of_convolution(name: str) -> str:
    return (
        f"a pointwise convolution with a stride and fewer than {VECTOR} channels is not safe with "
        f"it on a CPU: {name}"
    )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks for dangerous convolutions that are no modules."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.found = self.found or _is_dangerous(args[1], args[3], args[8])
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def _outputs(
    model: nn.Module, images: Tensor, layout: torch.memory_format
) -> tuple[list[Tensor], _Watch]:
    """Returns the tensors that a model gives in evaluation mode; the model stays as it was."""
    modes = [(module, module.training) for module in model.modules()]
    devices = [images.device] if images.device.type == "cuda" else []
    _lay_out(model, layout)
    model.eval()
    try:
        with torch.random.fork_rng(devices), _Watch() as watch:  # type: ignore[no-untyped-call]
            given = model(images.clone(memory_format=layout))
    finally:
        for module, training in modes:
            module.training = training
    return [value for value in tree_leaves(given) if isinstance(value, Tensor)], watch


def _same(plain: list[Tensor], laid_out: list[Tensor]) -> bool:
    """Compares outputs; sums in another order differ by far less than numbers in another order."""
    if [value.shape for value in plain] != [value.shape for value in laid_out]:
        return False
    for one, other in zip(plain, laid_out, strict=True):
        share = 1e-3 if one.dtype in (torch.float32, torch.float64) else 5e-2
        scale = float(one.abs().max()) if one.numel() else 0.0
        if not torch.allclose(one, other, rtol=0.0, atol=share * scale, equal_nan=True):
            return False
    return True


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    for param in model.parameters():  # Module.to() fails on those of five dimensions
        if param.dim() == 4:
            param.data = param.data.contiguous(memory_format=layout)


def _say(reason: str) -> None:
    _log.warning("images are laid out plain, not with channels last: %s", reason)
