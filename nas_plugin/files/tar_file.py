"""Tar archives from outside, unpacked into memory up to a size."""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike, open_bounded

_MAX_MEMBERS = 10_000


def read_tar(path: PathLike, max_bytes: int) -> dict[str, bytes]:
    """Returns the files of an archive by their last name; nothing is written to the disk.

    The whole archive is read, so that a gzip archive's check sum is compared.

    Raises:
        FileError: If it is damaged, larger, or holds more files than data sets have.
    """
    found: dict[str, bytes] = {}
    # One pass over a stream: no header can send the reader elsewhere.
    with open_bounded(path, max_bytes) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for count, member in enumerate(tar):
                    if count == _MAX_MEMBERS:
                        raise FileError(f"{path} holds more than {_MAX_MEMBERS} files.")
                    file = tar.extractfile(member) if member.isreg() else None
                    if file is not None:
                        found[PurePosixPath(member.name).name] = file.read()
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise FileError(f"{path} is damaged: {error}. Get the archive anew.") from error
    return found
