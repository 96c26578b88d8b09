"""The compact file that every benchmark is opened from.

Layout, little-endian::

    8 bytes   NASTABLE
    8 bytes   length of the header
    32 bytes  SHA-256 of the header
    header    JSON: name, release, rows, source, the directory of columns, SHA-256 of the data
    data      the columns, each aligned to 64 bytes from the start of the file

Opening checks the header against its hash and the file against the size that the header states;
`Table.verify` reads the data and checks its hash, as writing does once at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas_plugin.errors import FileError
from nas_plugin.files import open_bounded, parse_json

FORMAT = "nas_plugin.table/1"
SUFFIX = ".nastab"
_MAGIC = b"NASTABLE"
_PREFIX = len(_MAGIC) + 8 + 32
_ALIGN = 64
_MAX_HEADER = 16 * 2**20
_MAX_BYTES = 64 * 2**30
_HEADER = {
    "kind": str, "name": str, "release": str, "datasets": list, "rows": int, "source": dict,
    "notes": list, "extra": dict, "data_bytes": int, "data_sha256": str, "arrays": dict,
    "columns": list,
}  # fmt: skip
_DTYPES = ("<f4", "<f8", "|u1", "<u2", "<i4", "<u4", "<u8")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Column:
    """What one column holds; None means that it does not vary with that.

    Args:
        metric: ``accuracy`` (percent), ``loss``, ``params``, ``latency_ms_pixel3``, …
        dataset: The data set that was trained on.
        epochs: The length of the training schedule.
        split: ``train``, ``valid`` or ``test``.
        seed: The run; None is the mean over runs.
        goal: ``max`` or ``min``: what is better.
    """

    metric: str
    dataset: str | None = None
    epochs: int | None = None
    split: str | None = None
    seed: int | None = None
    goal: str = "max"


class Table:
    """A compact file, memory-mapped and read-only.

    Args:
        path: The file.

    Raises:
        FileError: If it is missing, something else, truncated or its header is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.header = _read_header(self.path)
        _check_header(self.header, self.path)
        size, start = self.path.stat().st_size, self.header["data_start"]
        if size != start + self.header["data_bytes"]:
            raise FileError(
                f"{self.path} has {size:,} bytes; its header states "
                f"{start + self.header['data_bytes']:,}. It is truncated or was changed: "
                "import it again."
            )
        self.rows = int(self.header["rows"])
        try:
            self.columns = [Column(**entry["column"]) for entry in self.header["columns"]]
            self._entries = dict(zip(self.columns, self.header["columns"], strict=True))
        except (KeyError, TypeError) as error:
            raise FileError(f"{self.path}: the header lacks or misspells {error}.") from error
        self._arrays = dict(self.header["arrays"])
        self._bytes = np.memmap(self.path, np.uint8, "r")

    def values(self, column: Column) -> Array:
        """Returns a column, one value a row, mapped from the file."""
        return self._view(self._entries[column])

    def array(self, name: str) -> Array:
        """Returns an array that describes the architectures, mapped from the file.

        Raises:
            FileError: If the file has none of that name.
        """
        if name not in self._arrays:
            raise FileError(
                f"{self.path} has no array '{name}', only {sorted(self._arrays)}. It is not a "
                "table of this kind: import it again."
            )
        return self._view(self._arrays[name])

    def verify(self) -> None:
        """Reads all data and compares its SHA-256 with the header's.

        Raises:
            FileError: If they differ.
        """
        found = hashlib.sha256(self._bytes[self.header["data_start"] :].data).hexdigest()
        if found != self.header["data_sha256"]:
            raise FileError(
                f"{self.path} is damaged: its data has SHA-256 {found}, "
                f"the header states {self.header['data_sha256']}. Import it again."
            )

    def _view(self, entry: Mapping[str, Any]) -> Array:
        try:
            dtype, shape, offset = entry["dtype"], tuple(entry["shape"]), entry["offset"]
            if dtype not in _DTYPES or not shape or shape[0] < 0 or offset < 0:
                raise ValueError(f"dtype {dtype}, shape {shape}, offset {offset}")
            flat = np.frombuffer(
                self._bytes,
                np.dtype(dtype),
                count=int(np.prod(shape)),
                offset=self.header["data_start"] + offset,
            )
            return flat.reshape(shape)
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"{self.path}: a directory entry is wrong: {error}.") from error


def write_table(
    path: str | os.PathLike[str],
    *,
    kind: str,
    name: str,
    release: str,
    datasets: Sequence[str],
    columns: Mapping[Column, npt.ArrayLike],
    arrays: Mapping[str, npt.ArrayLike],
    source: Mapping[str, str],
    notes: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a compact file and verifies it; an existing one is replaced in one step.

    Args:
        path: Where to.
        kind: The name, in the registry of benchmarks, of the class that reads it.
        name: The full name, release included.
        release: What was released, by whom.
        datasets: Names of the data sets, the default first.
        columns: One value a row each.
        arrays: What tells the architectures, one entry a row each.
        source: File name → SHA-256 of what was imported.
        notes: What a reader of the numbers must know.
        extra: More of the header, for `kind`.

    Returns:
        The path.

    Raises:
        FileError: If columns disagree about the number of rows.
    """
    chunks: list[bytes] = []
    offset = 0

    def place(values: npt.ArrayLike) -> dict[str, Any]:
        nonlocal offset
        array = np.ascontiguousarray(values)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        raw = array.tobytes()
        entry = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        if entry["dtype"] not in _DTYPES:
            raise FileError(f"A table cannot hold values of type {array.dtype}.")
        chunks.append(raw + bytes(-len(raw) % _ALIGN))
        offset += len(chunks[-1])
        return entry

    array_entries = {key: place(values) for key, values in arrays.items()}
    column_entries = [{"column": asdict(c), **place(values)} for c, values in columns.items()]
    rows = {entry["shape"][0] for entry in [*array_entries.values(), *column_entries]}
    if len(rows) != 1:
        raise FileError(f"The columns of '{name}' have different numbers of rows: {sorted(rows)}.")
    data = b"".join(chunks)
    header = {
        "format": FORMAT,
        "kind": kind,
        "name": name,
        "release": release,
        "datasets": list(datasets),
        "rows": rows.pop(),
        "source": dict(source),
        "notes": list(notes),
        "extra": dict(extra or {}),
        "data_bytes": len(data),
        "data_sha256": hashlib.sha256(data).hexdigest(),
        "arrays": array_entries,
        "columns": column_entries,
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False).encode()
    text += b" " * (-(_PREFIX + len(text)) % _ALIGN)
    prefix = _MAGIC + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest()
    _replace(Path(path), (prefix, text, data))
    Table(path).verify()
    return Path(path)


def _read_header(path: Path) -> dict[str, Any]:
    with open_bounded(path, _MAX_BYTES, packed=False) as stream:
        prefix = stream.read(_PREFIX)
        if prefix[:8] != _MAGIC or len(prefix) < _PREFIX:
            raise FileError(
                f"{path} is not a compact table (it does not start with {_MAGIC.decode()}). "
                "Make one with 'nas-plugin bench import'."
            )
        length = int.from_bytes(prefix[8:16], "little")
        if length > _MAX_HEADER:
            raise FileError(f"{path}: a header of {length:,} bytes is refused.")
        text = stream.read(length)
    if len(text) != length or hashlib.sha256(text).digest() != prefix[16:]:
        raise FileError(f"{path}: the header is damaged (wrong SHA-256). Import it again.")
    try:
        header = parse_json(text.decode(), f"{path}: the header")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: the header is not UTF-8 text. Import it again.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileError(f"{path}: the header is not of format '{FORMAT}'. Import it again.")
    header["data_start"] = _PREFIX + length
    return header


def _check_header(header: Mapping[str, Any], path: Path) -> None:
    """Raises FileError unless every entry of a header has its type."""
    for name, kind in _HEADER.items():
        value = header.get(name)
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < 2**62):
            raise FileError(
                f"{path}: the header's '{name}' is {str(value)[:40]}, expected {kind.__name__}. "
                "Import it again."
            )


def _replace(path: Path, parts: Sequence[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open_bounded(path, _MAX_BYTES, packed=False) as stream:
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()
