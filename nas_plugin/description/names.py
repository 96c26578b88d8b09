"""What inputs, names and keys in a graph may be."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Mapping
from typing import Any, TypeAlias

from nas_plugin.errors import DescriptionError

Shape: TypeAlias = tuple[int, ...]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)


def as_inputs(inputs: Any) -> dict[str, Shape | None]:
    """Returns the name and shape of each input of a graph; None where no shape is given.

    Raises:
        DescriptionError: If there is none, or a shape is not positive.
    """
    if isinstance(inputs, str):
        inputs = [inputs]
    if not isinstance(inputs, Mapping):
        inputs = dict.fromkeys(inputs)
    found: dict[str, Shape | None] = {}
    for name, shape in inputs.items():
        found[checked_name(name)] = None if shape is None else checked_shape(shape, name)
    if not found:
        raise DescriptionError("A graph needs at least one input.")
    return found


def checked_shape(shape: Any, name: str) -> Shape:
    """Returns a shape without the batch if it is one.

    Raises:
        DescriptionError: If it is none.
    """
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    if not sizes or any(type(n) is not int or not 0 < n <= 2**31 for n in sizes):
        raise DescriptionError(
            f"The shape of input '{name}' is a list of positive whole numbers without the batch, "
            f"[3, 32, 32] for example; got {shape!r}."
        )
    return sizes


def checked_name(name: Any) -> str:
    """Returns a name if nodes, inputs, parameters and graphs may have it.

    Raises:
        DescriptionError: If they may not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DescriptionError(
            f"A name begins with a letter and holds letters, digits, '_' and '-', got {name!r}."
        )
    return name


def checked_key(key: Any) -> str | None:
    """Returns a key if it is one.

    Raises:
        DescriptionError: If it is not.
    """
    if key is not None and (not isinstance(key, str) or not key.isprintable() or not key):
        raise DescriptionError(f"A key is printable text that is not empty, got {key!r}.")
    return key


def free_name(name: str, taken: Container[str]) -> str:
    """Returns a name that is not taken: the first of ``name``, ``name_2``, ``name_3``, …"""
    numbered = (f"{name}_{i}" for i in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)
