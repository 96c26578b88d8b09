"""Reading files up to a size: bytes and UTF-8 text, plain or gzipped."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from pathlib import Path

from nas_plugin.errors import FileError

PathLike = str | os.PathLike[str]

MAX_TEXT_BYTES = 16 * 2**20
_PART_BYTES = 16 * 2**20


def read_bytes(path: PathLike, max_bytes: int) -> bytes:
    """Returns a file's content; a ``.gz`` file is unpacked, up to the same size.

    Raises:
        FileError: If it cannot be read, or is larger.
    """
    path = Path(path)
    parts, size = [], 0
    try:
        # A pipe or terminal would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError(f"{path} cannot be read: it is not a file. Give the path of one.")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # In parts: reading to a limit at once would claim the memory of the limit.
            while size <= max_bytes and (part := file.read(_PART_BYTES)):
                parts.append(part)
                size += len(part)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}. Check the path.") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FileError(f"{path} cannot be read: {error}. Check or replace the file.") from error
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
    data = read_bytes(path, max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is not UTF-8 text (byte {error.start}): found "
            f"0x{error.object[error.start]:02x}. Save it as UTF-8."
        ) from error
