"""Zip archives from outside: plain members of bounded size, each with its check sum."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike, open_bounded, unpacked_limit

_MAX_MEMBERS = 100_000
_MAX_DIRECTORY = 16 * 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What zipfile raises for archives that are damaged.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    OverflowError,
)


@contextmanager
def open_zip(path: PathLike, max_bytes: int) -> Iterator[zipfile.ZipFile]:
    """Opens an archive whose members together unpack to no more than is allowed.

    Raises:
        FileError: If it is none, is damaged, or would be larger.
    """
    try:
        with (
            open_bounded(path, max_bytes + _MAX_DIRECTORY, packed=False) as stream,
            zipfile.ZipFile(stream) as archive,
        ):
            members = archive.infolist()
            limit = unpacked_limit(stream.seek(0, os.SEEK_END), max_bytes)
            size = sum(member.file_size for member in members)
            if size > limit or len(members) > _MAX_MEMBERS:
                raise FileError(
                    f"{path} unpacks to {size} bytes in {len(members)} files; {limit} is the most "
                    "accepted for such a file. Check that it is the one you mean."
                )
            yield archive
    except _DAMAGE as error:
        raise FileError(
            f"{path} is no archive that can be read: {str(error)[:200]}. Check or replace the file."
        ) from error


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: PathLike) -> bytes:
    """Returns the content of a member; its size was checked when the archive was opened.

    Raises:
        FileError: If it is packed by a method whose output cannot be bounded, or is cut off.
    """
    if member.compress_type not in _METHODS:
        raise FileError(
            f"{path}: '{member.filename[:80]}' is packed by a method other than deflate. Save it "
            "with numpy.savez_compressed, or with torch.save."
        )
    data = archive.read(member)
    if len(data) != member.file_size:
        raise FileError(f"{path}: '{member.filename[:80]}' is cut off. Replace the file.")
    return data
