"""Reading what came from outside: size, depth and duplicates are checked, and nothing runs."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_plugin.errors import FileError

if TYPE_CHECKING:
    import numpy as np

PathLike = str | os.PathLike[str]

MAX_TEXT_BYTES = 16 * 2**20
MAX_ARRAY_BYTES = 4 * 2**30
MAX_DEPTH = 64
_PART_BYTES = 16 * 2**20
_OPENING_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def read_bytes(path: PathLike, max_bytes: int) -> bytes:
    """Returns a file's content; a ``.gz`` file is unpacked, up to the same size.

    Raises:
        FileError: If it cannot be read, or is larger.
    """
    path = Path(path)
    parts, size = [], 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # In parts: reading to a limit at once would claim the memory of the limit.
            while size <= max_bytes and (part := file.read(_PART_BYTES)):
                parts.append(part)
                size += len(part)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}. Check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} cannot be read: {error}.") from error
    if size > max_bytes:
        raise FileError(
            f"{path} holds more than {max_bytes} bytes, the most that is accepted for this kind of "
            "file. Check that it is the one you mean."
        )
    return b"".join(parts)


def read_text(path: PathLike, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Returns a UTF-8 file's text, without a byte-order mark.

    Raises:
        FileError: If it cannot be read, is larger, or is not UTF-8.
    """
    try:
        return read_bytes(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error


def read_json(path: PathLike, max_bytes: int = MAX_TEXT_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Returns the value of a JSON file.

    Raises:
        FileError: If it is too large or too deep, holds a key twice, NaN or Infinity, or is not
            JSON.
    """
    return parse_json(read_text(path, max_bytes), str(path), max_depth)


def parse_json(text: str, name: str, max_depth: int = MAX_DEPTH) -> Any:
    """Returns the value of JSON text; `name` is what errors call it.

    Raises:
        FileError: As `read_json`.
    """
    depth = deepest = 0
    for match in _OPENING_OR_STRING.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    if deepest > max_depth:
        raise FileError(f"{name} is nested {deepest} deep; {max_depth} is the most accepted.")

    def refuse(constant: str) -> Any:
        raise FileError(f"{name} holds {constant}, which is not JSON. Use a finite number or null.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise FileError(f"{name} holds the key '{key}' twice in one object. Remove one.")
            found[key] = value
        return found

    def number(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            raise FileError(f"{name} holds the number {digits[:40]}, which is out of range.")
        return value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=number, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise FileError(
            f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name} is not JSON that can be read: {error}.") from error


def read_npz(
    path: PathLike, max_bytes: int = MAX_ARRAY_BYTES
) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Returns all arrays of an npz file; arrays of objects, which would run code, are refused.

    Raises:
        FileError: If it is no such file, or its arrays would not fit into `max_bytes`.
    """
    import zipfile

    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > max_bytes:
            raise FileError(f"{path} unpacks to {size} bytes; {max_bytes} is the most accepted.")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}. Check the path.") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(
            f"{path} is not an npz file of plain arrays ({error}). Save it with numpy.savez, "
            "without object arrays."
        ) from error
