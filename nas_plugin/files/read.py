"""The door for reading: every file from outside is opened here, up to a size.

What a packed file unpacks to is bounded twice: by what a file of its kind may hold, and by
`MAX_RATIO` times its own size, so that a small file cannot stand for a large memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from nas_plugin.errors import FileError

PathLike = str | os.PathLike[str]

MAX_TEXT_BYTES = 16 * 2**20
#: Data compresses tenfold, images less; only repetition compresses more.
MAX_RATIO = 100
#: Below this size a file may hold nothing but repetition.
MIN_LIMIT = 64 * 2**20
_PART_BYTES = 2**20
_Readable = IO[bytes] | gzip.GzipFile | bz2.BZ2File
_PACKED = (".gz", ".bz2", ".pbz2")


@contextmanager
def open_bounded(
    path: PathLike, max_bytes: int, *, packed: bool = True, whole: bool = True
) -> Iterator[BinaryIO]:
    """Opens a file for reading; reading past its limit is an error.

    Args:
        path: Path of the file.
        max_bytes: The most that a file of this kind may hold, unpacked.
        packed: Whether ``.gz``, ``.bz2`` and ``.pbz2`` files are unpacked.
        whole: Whether what the block leaves unread is read at its end, so that the check sum of
            the archive is compared.

    Raises:
        FileError: If it cannot be read, is larger, or its check sum is wrong.
    """
    path = Path(path)
    try:
        # A pipe or terminal would wait forever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError(f"{path} cannot be read: it is not a file. Give the path of one.")
        size = path.stat().st_size
        if not packed or path.suffix not in _PACKED:
            with path.open("rb") as plain:
                yield io.BufferedReader(_Bounded(plain, path, max_bytes), _PART_BYTES)
            return
        limit = unpacked_limit(size, max_bytes)
        with gzip.open(path) if path.suffix == ".gz" else bz2.open(path) as unpacked:
            stream = io.BufferedReader(_Bounded(unpacked, path, limit), _PART_BYTES)
            yield stream
            while whole and stream.read(_PART_BYTES):
                pass
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}. Check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} cannot be read: {error}. Check or replace the file.") from error


def unpacked_limit(packed_bytes: int, max_bytes: int) -> int:
    """Returns how many bytes a packed file of a size may unpack to."""
    return min(max_bytes, max(MIN_LIMIT, MAX_RATIO * packed_bytes))


def read_bytes(path: PathLike, max_bytes: int, *, packed: bool = True) -> bytes:
    """Returns a file's content, unpacked if it is packed.

    Raises:
        FileError: As `open_bounded`.
    """
    with open_bounded(path, max_bytes, packed=packed) as stream:
        # In parts: reading to a limit at once would claim the memory of the limit.
        return b"".join(iter(lambda: stream.read(_PART_BYTES), b""))


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


def read_lines(
    path: PathLike, max_bytes: int, max_line: int, *, start: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Yields the number, from 1, and the bytes of each line, its line break included.

    Args:
        path: Path of the file.
        max_bytes: The most that a file of this kind may hold, unpacked.
        max_line: The most bytes of a line.
        start: Position of the first byte that is read.

    Raises:
        FileError: As `open_bounded`, or if a line is longer.
    """
    with open_bounded(path, max_bytes) as stream:
        stream.seek(start) if start else None
        number = 0
        while line := stream.readline(max_line + 1):
            number += 1
            if len(line) > max_line:
                raise FileError(
                    f"{path}, line {number} is longer than {max_line} bytes, the most that is "
                    "accepted for this kind of file. Check that it is the one you mean."
                )
            yield number, line


class _Bounded(io.RawIOBase):
    """A stream that raises FileError where it is read past `limit` bytes."""

    def __init__(self, stream: _Readable, path: Path, limit: int) -> None:
        self._stream, self._path, self._limit = stream, path, limit
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = self._stream.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._stream.read(len(view))
        self._position += len(data)
        if self._position > self._limit:
            raise FileError(
                f"{self._path} holds more than {self._limit} bytes, the most that is accepted for "
                "this kind of file. Check that it is the one you mean."
            )
        view[: len(data)] = data
        return len(data)
