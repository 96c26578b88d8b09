"""Inputs and targets of several parts: lists, tuples and dicts of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nas_plugin.errors import DataError


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns `value` with every tensor changed; what is neither tensor nor container stays."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: mapped(part, change) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [mapped(part, change) for part in value]
        named = hasattr(value, "_fields")
        return type(value)(*parts) if named else type(value)(parts)
    return value


def joined(first: Any, second: Any) -> Any:
    """Returns the samples of two values of one structure, one after the other."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    if isinstance(first, Mapping):
        return {name: joined(part, second[name]) for name, part in first.items()}
    if isinstance(first, (list, tuple)):
        parts = [joined(a, b) for a, b in zip(first, second, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return first


def sample_count(value: Any) -> int:
    """Returns how many samples a batch of tensors holds: the length of the first one.

    Raises:
        DataError: If there is no tensor with a length.
    """
    if isinstance(value, Tensor) and value.dim() > 0:
        return len(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)) and len(value) > 0:
        return sample_count(value[0])
    raise DataError(
        f"The targets of a batch are tensors of N entries, or a list, tuple or dict of them; got "
        f"{type(value).__name__}. Let the data set's collate function make tensors of them."
    )
