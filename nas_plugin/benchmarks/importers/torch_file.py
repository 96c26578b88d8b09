"""Reading what `torch.save` wrote, without torch: its numbers and text, not its tensors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from nas_plugin.benchmarks.importers.restricted_pickle import read_pickle
from nas_plugin.errors import FileError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_torch_file(path: Path) -> Any:
    """Returns the saved object with every tensor dropped.

    Both forms are read: the zip archive of torch 1.6 and later, and the row of pickles before it,
    in which the NAS-Bench-201 files were published.

    Raises:
        FileError: If the file is of another form, truncated, or names what is not plain data.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        with path.open("rb") as stream:
            if read_pickle(stream, str(path)) != _LEGACY_MAGIC:
                raise FileError(f"{path} was not written by torch.save (wrong magic number).")
            if read_pickle(stream, str(path)) != _LEGACY_PROTOCOL:
                raise FileError(f"{path}: unknown protocol of torch.save.")
            read_pickle(stream, str(path))  # sizes of C types on the writer's machine
            return read_pickle(stream, str(path))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "data.pkl"]
            if len(members) != 1:
                raise FileError(f"{path}: a torch archive holds one data.pkl, found {members}.")
            if archive.getinfo(members[0]).compress_type != zipfile.ZIP_STORED:
                raise FileError(f"{path}: a torch archive is not compressed, this one is.")
            with archive.open(members[0]) as stream:
                return read_pickle(stream, f"{path}:{members[0]}")  # type: ignore[arg-type]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise FileError(f"{path} is a damaged torch archive: {error}.") from error
