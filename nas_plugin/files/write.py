"""Writing that survives a crash: the old content or the new, never a part."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any, BinaryIO

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike

# Some network file systems cannot sync a folder; the rename itself still holds.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)
_BINARY = getattr(os, "O_BINARY", 0)  # Windows


@contextmanager
def atomic_open(path: PathLike) -> Iterator[IO[bytes]]:
    """Opens a file for writing that replaces `path` when the block ends without an error.

    The temporary file lies in the same folder; it and the folder are synced to the disk. A link is
    followed, and the mode of an existing file is kept.

    Raises:
        FileError: If it cannot be written; `path` then holds what it held.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def write_atomic(path: PathLike, content: str | bytes) -> None:
    """Replaces a file's content at once; text is written as UTF-8."""
    with atomic_open(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: PathLike, value: Any) -> None:
    """Replaces a file by JSON with sorted keys.

    Raises:
        ValueError: If the value holds NaN or Infinity.
        TypeError: If it holds what JSON cannot.
        FileError: If the file cannot be written.
    """
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def append_line(path: PathLike, line: str, *, fsync: bool = True) -> None:
    """Appends one line, and syncs it to the disk before it returns.

    A last line that a crash cut off is ended first, so that it stays the only damaged one.

    Args:
        path: The file; it is created if there is none.
        line: Text; a line break is allowed at its end only.
        fsync: False leaves the sync to the system: faster, and a power cut may lose lines.

    Raises:
        FileError: If the text has several lines, or the file cannot be written.
    """
    line = line.removesuffix("\n")
    if "\n" in line:
        raise FileError(
            f"{path}: found a line break inside the line {line[:40]!r}. "
            "Append its lines one by one."
        )
    try:
        # Unbuffered and appending: lines of several processes do not mix.
        with open(path, "ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            write_whole(file, line.encode() + b"\n", end)
            if fsync:
                os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(Path(path), error) from error


def write_whole(file: BinaryIO | FileIO, data: bytes, end: int) -> None:
    """Appends all of `data` to an unbuffered file of `end` bytes, or nothing of it.

    Raises:
        OSError: If the disk is full, say; what had fitted is cut off again.
    """
    done = 0
    try:
        while done < len(data):
            done += file.write(memoryview(data)[done:]) or 0
    except BaseException:
        with suppress(OSError):
            # Another process may have appended a line of its own meanwhile; that stays.
            if os.fstat(file.fileno()).st_size == end + done:
                file.truncate(end)
        raise


def sync_folder(folder: PathLike) -> None:
    """Makes renames in a folder durable, where the platform lets folders be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> FileError:
    """Returns the error of ours for what the system refused."""
    return FileError(
        f"{path} cannot be written: {error.strerror or error}. Check that its folder exists, may "
        "be written to and has space."
    )
