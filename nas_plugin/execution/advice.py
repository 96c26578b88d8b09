"""In which memory layout a model runs faster: a rule that was measured, see docs/performance.md."""

from __future__ import annotations

from torch import nn

from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.execution.dispatch import Dispatcher


def layout_advice(model: nn.Module) -> tuple[bool, str]:
    """Returns whether channels last is faster for `model`, and why.

    On a CPU it is where depthwise convolutions run (the DARTS space: 1.5 times faster), and is not
    where plain ones alone do (NAS-Bench-201: 1.1 times slower). Executors lay their own images out
    with channels last, so around them it saves copies.
    """
    tensors = next(model.parameters(), None)
    if tensors is not None and tensors.device.type != "cpu":
        return True, "convolutions of this device are made for it"
    for module in model.modules():
        if isinstance(module, ChoiceBlock) and module.binding is not None:
            dispatch = module.binding.dispatch
            if isinstance(dispatch, Dispatcher) and dispatch.executors:
                return True, "executors lay out their images so"
            break
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels:
            return True, "depthwise convolutions are faster with it"
    return False, "there is no depthwise convolution, and plain ones are faster without it"
