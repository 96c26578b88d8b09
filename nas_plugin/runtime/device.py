"""Where a search runs."""

from __future__ import annotations

import os

import torch

from nas_plugin.errors import OptionError


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Returns the device that is meant; ``auto`` is a GPU if there is one.

    Under torchrun ``auto`` and ``cuda`` mean the GPU of the local rank.

    Raises:
        OptionError: If torch does not know the device, or it is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise OptionError(
            f"Unknown device {device!r}; use auto, cpu, cuda or cuda:<n>. ({error})"
        ) from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError(f"Device {device!r} was asked for, but torch finds no GPU; use cpu.")
        if chosen.index is None:
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if chosen.index >= torch.cuda.device_count():
            raise OptionError(
                f"Device '{chosen}' was asked for, but there are {torch.cuda.device_count()} GPUs."
            )
        torch.cuda.set_device(chosen)
    return chosen
