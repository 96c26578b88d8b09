"""Writing that survives a crash: the old content or the new, never a part."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PathLike = str | os.PathLike[str]


@contextmanager
def atomic_open(path: PathLike) -> Iterator[IO[bytes]]:
    """Opens a file for writing that replaces `path` when the block ends without an error.

    The temporary file lies in the same folder; it and the folder are synced to the disk.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def write_atomic(path: PathLike, content: str | bytes) -> None:
    """Replaces a file's content at once; text is written as UTF-8."""
    with atomic_open(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: PathLike, value: Any) -> None:
    """Replaces a file by JSON with sorted keys; NaN and Infinity are refused."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def append_line(path: PathLike, line: str) -> None:
    """Appends one line and syncs it to the disk before it returns."""
    data = line.rstrip("\n").encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        # One write call: with O_APPEND, lines of several processes do not mix.
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: PathLike) -> None:
    """Makes renames in a folder durable, where the platform lets folders be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
