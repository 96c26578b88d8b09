"""Reading what `torch.save` wrote, without torch: its numbers and text, not its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.files import open_bounded, open_zip, read_bytes, read_member, read_pickles

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
#: No published record is larger; the single files of all records are, and are refused, because
#: they take 28 GB of memory.
MAX_RECORD = 256 * 2**20
_MAX_ARCHIVE = 16 * 2**30


def read_torch_file(path: Path) -> Any:
    """Returns the saved object with every tensor dropped.

    Both forms are read: the zip archive of torch 1.6 and later, and the row of pickles before it,
    in which the NAS-Bench-201 files were published.

    Raises:
        FileError: If the file is of another form, truncated, or names what is not plain data.
    """
    with open_bounded(path, _MAX_ARCHIVE, packed=False) as stream:
        zipped = stream.read(4) == b"PK\x03\x04"
    if zipped:
        return _read_zip(path)
    data = read_bytes(path, MAX_RECORD, packed=False)
    magic, protocol, _, saved = read_pickles(data, 4, str(path))
    if magic != _LEGACY_MAGIC or protocol != _LEGACY_PROTOCOL:
        raise FileError(f"{path} was not written by torch.save (wrong magic number).")
    return saved


def _read_zip(path: Path) -> Any:
    with open_zip(path, _MAX_ARCHIVE) as archive:
        members = [m for m in archive.infolist() if m.filename.rsplit("/", 1)[-1] == "data.pkl"]
        if len(members) != 1 or members[0].file_size > MAX_RECORD:
            raise FileError(
                f"{path}: a torch archive holds one data.pkl of at most {MAX_RECORD} bytes, found "
                f"{[m.file_size for m in members]} bytes. Check that it is the file you mean."
            )
        return read_pickles(read_member(archive, members[0], path), 1, f"{path}:data.pkl")[0]
