"""Reading what `torch.save` wrote, without torch: its numbers and text, not its tensors."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO, Any

from nas_plugin.benchmarks.importers.restricted_pickle import read_pickle, read_pickles
from nas_plugin.errors import FileError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
#: Larger files are read as a stream, without walking through their opcodes first: those of all
#: records need gigabytes anyway.
_MAX_SCANNED = 64 * 2**20


def read_torch_file(path: Path) -> Any:
    """Returns the saved object with every tensor dropped.

    Both forms are read: the zip archive of torch 1.6 and later, and the row of pickles before it,
    in which the NAS-Bench-201 files were published.

    Raises:
        FileError: If the file is of another form, truncated, or names what is not plain data.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) == b"PK\x03\x04":
                return _read_zip(path)
            stream.seek(0)
            magic, protocol, _, data = _read_n(stream, path.stat().st_size, 4, str(path))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error}.") from error
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise FileError(f"{path} was not written by torch.save (wrong magic number).")
    return data


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "data.pkl"]
            if len(members) != 1:
                raise FileError(f"{path}: a torch archive holds one data.pkl, found {members}.")
            info = archive.getinfo(members[0])
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > path.stat().st_size:
                raise FileError(f"{path}: a torch archive is not compressed, this one is.")
            with archive.open(info) as stream:
                return _read_n(stream, info.file_size, 1, f"{path}:{members[0]}")[0]
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        EOFError,
        struct.error,
    ) as error:
        raise FileError(f"{path} is a damaged torch archive: {error}.") from error


def _read_n(stream: IO[bytes], size: int, n: int, what: str) -> list[Any]:
    if size <= _MAX_SCANNED:
        return read_pickles(stream.read(), n, what)
    return [read_pickle(stream, what) for _ in range(n)]  # type: ignore[arg-type]
