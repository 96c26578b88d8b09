"""Checks that JSON from outside has the expected shape, by `schema`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from schema import Optional, Schema, SchemaError

from nas_plugin.errors import FileError, NasError

__all__ = ["FLAG", "NUMBER", "SCALAR", "TEXT", "WHOLE", "Is", "Optional", "check_json"]

_KEY = re.compile(r"Key (.*) error:", re.DOTALL)


class Is:
    """What a value must be, in words and as a test.

    Args:
        what: Completes "expected …".
        test: Whether a value is that.
    """

    def __init__(self, what: str, test: Callable[[Any], bool]) -> None:
        self.what, self.test = what, test

    def validate(self, value: Any, **_: Any) -> Any:
        """Returns the value, as `schema` wants it of a validator."""
        if not self.test(value):
            raise SchemaError([], [f"found {_short(value)}, expected {self.what}"])
        return value


TEXT = Is("text", lambda v: isinstance(v, str))
FLAG = Is("true or false", lambda v: isinstance(v, bool))
WHOLE = Is("a whole number", lambda v: type(v) is int)
NUMBER = Is("a number", lambda v: type(v) in (int, float) and math.isfinite(v))
SCALAR = Is(
    "text, a number, true, false or null",
    lambda v: v is None or type(v) in (str, int, float, bool),
)


def check_json(
    value: Any, shape: Any, name: str, error: type[NasError] = FileError, *, extra: bool = False
) -> Any:
    """Returns `value` if it has the shape.

    Args:
        value: What a file held.
        shape: As `schema.Schema` takes it: types, `Is`, lists, dicts with `Optional` keys.
        name: What errors call it: the file, or the file and line.
        error: The class of the error.
        extra: Whether keys that the shape does not have are kept; they are an error otherwise.

    Raises:
        NasError: Of the class `error`, if the shape is another; it names `name` and the key.
    """
    if isinstance(shape, dict) and not isinstance(value, dict):
        raise error(f"{name}: expected a JSON object, found {_short(value)}.")
    try:
        Schema(shape, ignore_extra_keys=extra).validate(value)
    except SchemaError as found:
        raise error(f"{name}: {_said(found, shape)}.") from found
    return value


def _said(error: SchemaError, shape: Any) -> str:
    autos = [str(text) for text in error.autos if text]
    path = [match[1] for text in autos if (match := _KEY.fullmatch(text))]
    known = (
        ", ".join(repr(getattr(key, "schema", key)) for key in shape)
        if isinstance(shape, dict)
        else ""
    )
    said = [str(text) for text in error.errors if text]
    reason = said[-1] if said else autos[-1]
    if not said and reason.startswith("Wrong key") and not path:
        reason = f"{reason.split(' in ')[0].replace('Wrong key', 'unknown key')}; known are {known}"
    elif not said and reason.startswith("Missing key"):
        reason = reason.replace("Missing key:", "lacks the key").replace("Missing keys:", "lacks")
    where = " of ".join(f"key {key}" for key in reversed(path))
    return f"{where}: {reason}" if where else reason


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
