"""An operation by its name, with plain arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from nas_plugin.errors import DescriptionError

Value: TypeAlias = bool | int | float | str | tuple["Value", ...] | None


class Op:
    """An operation by its registered name.

    Args:
        name: A name of `nas_plugin.operations.operations`.
        **parameters: Arguments of the operation. Numbers may be expressions of the graph's
            parameters and of `c_in`, the channels that come in: ``c_out="2 * c_in"``.

    Raises:
        DescriptionError: If a value is no plain one.
    """

    __slots__ = ("_identity", "name", "parameters")

    def __init__(self, name: str, /, **parameters: Any) -> None:
        self.name = name
        self.parameters: Mapping[str, Value] = {
            key: plain(value, f"Operation '{name}', {key}") for key, value in parameters.items()
        }
        # By what is written: 1, 1.0 and True are equal to Python, and differ to an operation.
        spelled = sorted((key, repr(value)) for key, value in self.parameters.items())
        self._identity = (name, tuple(spelled))

    def __eq__(self, other: object) -> bool:
        return self._identity == other._identity if isinstance(other, Op) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.parameters.items()]
        return f"Op({', '.join([repr(self.name), *given])})"


def plain(value: Any, what: str) -> Value:
    """Returns a value that YAML can hold; lists become tuples.

    Raises:
        DescriptionError: If it is none.
    """
    if value is None or type(value) in (bool, int):
        return value  # type: ignore[no-any-return]
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str and value.isprintable():
        return value
    if isinstance(value, (list, tuple)):
        return tuple(plain(entry, what) for entry in value)
    raise DescriptionError(
        f"{what}: a value is a finite number, printable text, true, false, null or a list of "
        f"them, got {value!r}."
    )
