"""Mixed precision: which type a forward computes in, and how fp16 gradients survive."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas_plugin.errors import OptionError

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and, for fp16, one gradient scaler.

    Args:
        name: ``fp32`` (what the model is in), ``bf16`` or ``fp16``.
        device: Where the model runs.

    Raises:
        OptionError: If the name is another.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name not in PRECISIONS:
            raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}.")
        self.name = name
        self._device_type = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Returns the context of one forward pass.

        One context a forward: the cache of cast weights lives as long as its context, and a step
        inside it would train on stale weights.
        """
        dtype = PRECISIONS[self.name]
        return nullcontext() if dtype is None else torch.autocast(self._device_type, dtype)

    def scale(self, loss: Tensor) -> Tensor:
        """Returns the loss to differentiate."""
        return self._scaler.scale(loss)

    def unscale(self, grads: list[Tensor]) -> list[Tensor]:
        """Undoes `scale` on gradients that no optimizer owns."""
        factor = self._scaler.get_scale()
        return grads if factor == 1.0 else [grad / factor for grad in grads]

    def step(
        self, optimizer: Optimizer, params: list[nn.Parameter], grad_clip: float | None = None
    ) -> None:
        """Steps `optimizer` on the scaled gradients of `params`, unless they overflowed."""
        self._scaler.unscale_(optimizer)
        if grad_clip is not None:
            nn.utils.clip_grad_norm_(params, grad_clip)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self._scaler.load_state_dict(state)
