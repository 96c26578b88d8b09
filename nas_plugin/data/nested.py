"""Inputs and targets of several parts: lists, tuples and dicts of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
