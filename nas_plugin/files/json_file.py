"""JSON from outside: size, depth, duplicates and numbers are checked, and nothing runs."""

from __future__ import annotations

import json
import re
import warnings
from itertools import accumulate
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.files.read import MAX_TEXT_BYTES, PathLike, read_text

MAX_DEPTH = 64
_MAX_DIGITS = 20  # those of the largest number of 64 bits

# An unfinished string ends with the text, so that no part is scanned twice.
_TOKEN = re.compile(r'"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?:"|\Z)|[\[{\]}]|-?Infinity|NaN', re.DOTALL)
_COLON = re.compile(r"[ \t\r\n]*:")
_NUMPY_TYPES = frozenset(
    ["bool", "float32", "float64"] + [f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)]
)


def read_json(path: PathLike, max_bytes: int = MAX_TEXT_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Returns the value of a JSON file.

    Raises:
        FileError: If it is too large or too deep, holds a key twice, NaN or Infinity, or is not
            JSON.
    """
    return parse_json(read_text(path, max_bytes), str(path), max_depth)


def parse_json(
    text: str, name: str, max_depth: int = MAX_DEPTH, *, lone_surrogates: bool = False
) -> Any:
    """Returns the value of JSON text; `name` is what errors call it.

    Args:
        text: The text.
        name: Name of its source, as errors call it.
        max_depth: The deepest nesting that is accepted.
        lone_surrogates: Whether halves of characters pass, as in file names that are no UTF-8.

    Numpy values, as json-tricks writes them, come back as plain numbers and lists.

    Raises:
        FileError: As `read_json`.
    """
    _scan(text, name, max_depth)

    def number(digits: str) -> float:
        value = float(digits)
        if abs(value) == float("inf"):
            raise FileError(
                f"{name} holds the number {digits[:40]}, out of range: 1e308 is the most."
            )
        return value

    def whole(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            raise FileError(
                f"{name} holds the number {digits[:40]}… of {len(digits)} digits; {_MAX_DIGITS} is "
                "the most."
            )
        return int(digits)

    def plain(found: dict[str, Any]) -> Any:
        return _from_numpy(found, name) if "__ndarray__" in found else found

    try:
        value = json.loads(text, parse_float=number, parse_int=whole, object_hook=plain)
        if "\\u" in text and not lone_surrogates:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise FileError(
            f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "Correct it there."
        ) from error
    except UnicodeEncodeError as error:
        raise FileError(
            f"{name} escapes half of a character ({error.object[error.start]!a}). Write both "
            "halves of a surrogate pair."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name} is not JSON that can be read: {error}.") from error


def _scan(text: str, name: str, max_depth: int) -> None:
    """Refuses what `json.loads` lets pass, before it builds or recurses into anything."""
    open_keys: list[set[str] | None] = []  # one entry a bracket: an object's keys, None for a list
    for match in _TOKEN.finditer(text):
        token, problem = match[0], ""
        if token in "[{":
            open_keys.append(set() if token == "{" else None)
            if len(open_keys) > max_depth:
                problem = (
                    f"is nested {_depth(text)} deep; {max_depth} is the most accepted. Flatten it"
                )
        elif token in "]}":
            if open_keys:
                open_keys.pop()
        elif token[0] != '"':
            problem = f"holds {token}, which is not JSON. Use a finite number or null"
        elif open_keys and (keys := open_keys[-1]) is not None and _COLON.match(text, match.end()):
            key = _unescaped(token)
            if key in keys:
                problem = f"holds the key '{key}' twice in one object. Remove one"
            keys.add(key)
        if problem:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            raise FileError(f"{name} {problem} (line {line}, column {column}).")


def _depth(text: str) -> int:
    change = {"[": 1, "{": 1, "]": -1, "}": -1}
    return max(accumulate(change.get(match[0], 0) for match in _TOKEN.finditer(text)))


def _unescaped(token: str) -> str:
    if "\\" in token:
        try:
            return str(json.loads(token))
        except ValueError:
            pass  # Not JSON: the parser will say so, with the place.
    return token[1:-1]


def _from_numpy(entry: dict[str, Any], name: str) -> Any:
    """Returns the numbers of an encoded numpy array or scalar.

    json-tricks looks up the type of a scalar as any attribute of numpy, functions that open files
    included, and unpacks compressed arrays without a limit. So the type is checked before, and only
    arrays that spell out their numbers are read.
    """
    import numpy as np
    from json_tricks.decoders import json_numpy_obj_hook

    data, dtype, shape = entry["__ndarray__"], entry.get("dtype"), entry.get("shape")
    try:
        if dtype not in _NUMPY_TYPES or isinstance(data, (str, dict)):
            raise ValueError(f"type {str(dtype)[:40]!r}")
        if not isinstance(shape, list) or (0 not in shape and list(np.shape(data)) != shape):
            raise ValueError(f"shape {str(shape)[:40]}")
        with np.errstate(over="raise"), warnings.catch_warnings():
            # NumPy 1 wraps numbers that do not fit, with a warning; they differ below.
            warnings.simplefilter("ignore", DeprecationWarning)
            value = json_numpy_obj_hook({"__ndarray__": data, "dtype": dtype, "shape": shape})
        plain = value.tolist()
        if plain != data:
            raise ValueError(f"numbers that are not {dtype}")
        return plain
    except (ArithmeticError, TypeError, ValueError) as error:
        raise FileError(
            f"{name} holds a numpy value with {error}. Write it as a plain number or list, or as "
            f"uncompressed numbers of one of the types {', '.join(sorted(_NUMPY_TYPES))}."
        ) from error
