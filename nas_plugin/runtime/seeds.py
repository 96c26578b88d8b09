"""Random state: set once at the start, saved in every checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from nas_plugin.errors import CheckpointError


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch. For scripts; the library itself passes generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Returns the state of all global generators, as tensors and plain values."""
    legacy: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = legacy
    version, internal, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(internal), next_gauss],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restores what `random_state` returned.

    Raises:
        CheckpointError: If the state has another form.
    """
    try:
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        name, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        version, internal, next_gauss = state["python"]
        random.setstate((version, tuple(internal), next_gauss))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint's random state cannot be restored ({error}). "
            "It was written by another version; start the run anew."
        ) from error


def fingerprint() -> dict[str, Any]:
    """Returns what a bit-identical resume depends on beside the checkpoint."""
    return {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }
