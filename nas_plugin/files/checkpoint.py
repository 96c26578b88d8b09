"""Checkpoints: atomic, checksummed, and free of code when they are read."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

from nas_plugin.errors import CheckpointError
from nas_plugin.files.read import PathLike, read_bytes
from nas_plugin.files.write import atomic_open

MAX_BYTES = 64 * 2**30
MAX_DEPTH = 64
_NAME = b"nas_plugin checkpoint "
_MAGIC = _NAME + b"1\n"
_DIGEST = re.compile(rb"([0-9a-f]{64})\n")
_HEADER_BYTES = len(_MAGIC) + 64 + 1
_ZIP_END = b"PK\x05\x06"  # begins the last 22 bytes of what torch.save makes
_SCALARS = (str, int, float, bool, bytes, type(None))
_FOREIGN = {b"PK\x03\x04": "a file of torch.save", b"\x80\x02": "an old file of torch.save"}
_UNSUPPORTED = re.compile(r"GLOBAL (\S+)")


def save_checkpoint(path: PathLike, state: Mapping[str, Any]) -> None:
    """Writes tensors, numbers, strings and containers of them.

    The file is a line that names the format, a line with the SHA-256 of the rest, and what
    `torch.save` makes.

    Raises:
        CheckpointError: If the state holds something else; the message says where.
        FileError: If the file cannot be written.
    """
    import torch

    if not isinstance(state, dict):
        raise CheckpointError(f"A checkpoint holds a dict, not a {type(state).__name__}.")
    _check_plain(state, "state", MAX_DEPTH)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    digest = hashlib.sha256(payload).hexdigest()
    with atomic_open(path) as file:
        file.write(_MAGIC + f"{digest}\n".encode())
        file.write(payload)


def load_checkpoint(path: PathLike) -> dict[str, Any]:
    """Returns the state of a checkpoint, on the CPU.

    Raises:
        CheckpointError: If the file is damaged or no checkpoint of nas_plugin.
        FileError: If it cannot be read.
    """
    import torch

    payload = _verified(read_bytes(path, MAX_BYTES, packed=False), path)
    _check_members(payload, path)
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what it refuses to load
        named = _UNSUPPORTED.search(str(error))
        what = f" ({named[1]})" if named else ""
        raise CheckpointError(
            f"{path} holds more than plain data{what}, or data of another torch; it is not loaded, "
            "since that could run code. Use a checkpoint that this version wrote."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path} holds a {type(state).__name__}, not a dict. Use a checkpoint that a trainer "
            "wrote."
        )
    return state


def _verified(data: bytes, path: PathLike) -> memoryview:
    """Returns the payload of a checkpoint whose header and checksum are right."""
    path = os.fspath(path)
    if not data.startswith(_MAGIC) and not _MAGIC.startswith(data):
        if data.startswith(_NAME):
            version = data[len(_NAME) :].split(b"\n", 1)[0][:20].decode(errors="replace")
            raise CheckpointError(
                f"{path} is a checkpoint of format {version!r}; this version reads format '1'. "
                "Use the version of nas_plugin that wrote it."
            )
        kinds = [kind for start, kind in _FOREIGN.items() if data.startswith(start)]
        raise CheckpointError(
            f"{path} is not a checkpoint of nas_plugin, but {(kinds or ['something else'])[0]}. "
            "Give a file that a trainer wrote."
        )
    if len(data) < _HEADER_BYTES:
        raise CheckpointError(
            f"{path} was cut off after {len(data)} bytes, inside its header. Use an earlier "
            "checkpoint."
        )
    header = _DIGEST.fullmatch(data[len(_MAGIC) : _HEADER_BYTES])
    if header is None:
        raise CheckpointError(f"{path} is damaged in its header. Use an earlier checkpoint.")
    payload = memoryview(data)[_HEADER_BYTES:]
    if hashlib.sha256(payload).hexdigest().encode() != header[1]:
        whole = payload[-22:-18] == _ZIP_END
        what = "is damaged" if whole else f"was cut off after {len(data)} bytes, or its end changed"
        raise CheckpointError(
            f"{path} {what}: the content does not fit its checksum. Use an earlier checkpoint."
        )
    return payload


def _check_members(payload: memoryview, path: PathLike) -> None:
    """Refuses what `torch.save` does not write: packed members, or more than the file's size."""
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint: its content is no archive of torch.save ({error}). Use a "
            "checkpoint that a trainer wrote."
        ) from error
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > len(payload):
        raise CheckpointError(
            f"{path} holds packed data, which torch.save does not write, and unpacks to an unknown "
            "size. Use a checkpoint that a trainer wrote."
        )


def _check_plain(value: Any, where: str, depth: int) -> None:
    """Refuses what `torch.load` would refuse later, when the run is gone.

    Types are compared exactly: a defaultdict or a named tuple saves, and does not load.
    """
    import torch

    kind = type(value)
    plain_tensors = (torch.Tensor, torch.nn.Parameter)
    if kind in _SCALARS or kind in plain_tensors or kind in (torch.dtype, torch.Size):
        return
    if depth == 0:
        raise CheckpointError(
            f"{where[:200]} is nested more than {MAX_DEPTH} deep or holds itself. Flatten it."
        )
    if kind in (dict, OrderedDict, Counter):  # MultiStepLR keeps a Counter
        for key, entry in value.items():
            parts = key if type(key) is tuple else (key,)
            if any(type(part) not in _SCALARS for part in parts):
                raise CheckpointError(
                    f"{where} has the key {key!r} of type {type(key).__name__}, which cannot be "
                    "saved. Use text, numbers, or tuples of them."
                )
            _check_plain(entry, f"{where}[{key!r}]", depth - 1)
    elif kind in (list, tuple):
        for i, entry in enumerate(value):
            _check_plain(entry, f"{where}[{i}]", depth - 1)
    else:
        raise CheckpointError(
            f"{where} is a {kind.__name__}, which a checkpoint cannot hold. Keep tensors, numbers, "
            "text, and lists and dicts of them."
        )
