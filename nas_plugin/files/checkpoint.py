"""Checkpoints: atomic, checksummed, and free of code when they are read."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_plugin.errors import CheckpointError, FileError
from nas_plugin.files.read import read_bytes
from nas_plugin.files.write import atomic_open

PathLike = str | os.PathLike[str]

MAX_BYTES = 64 * 2**30
_MAGIC = b"nas_plugin checkpoint 1\n"
_DIGEST_BYTES = 65
_NAME = re.compile(r"step_(\d+)\.ckpt")
_log = logging.getLogger(__name__)


def save_checkpoint(path: PathLike, state: Mapping[str, Any]) -> None:
    """Writes tensors, numbers, strings and containers of them.

    The file is a line that names the format, the SHA-256 of the rest in hexadecimal, and what
    `torch.save` makes.

    Raises:
        CheckpointError: If the state holds something else; the message says where.
    """
    import torch

    _check_plain(state, "state")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    digest = hashlib.sha256(payload).hexdigest().encode()
    with atomic_open(path) as file:
        file.write(_MAGIC + digest + b"\n")
        file.write(payload)


def load_checkpoint(path: PathLike) -> dict[str, Any]:
    """Returns the state of a checkpoint, on the CPU.

    Raises:
        CheckpointError: If the file is damaged or no checkpoint of nas_plugin.
        FileError: If it cannot be read.
    """
    import torch

    data = read_bytes(path, MAX_BYTES)
    if not data.startswith(_MAGIC):
        kind = "a file of torch.save" if data.startswith(b"PK") else "something else"
        raise CheckpointError(
            f"{path} is not a checkpoint of nas_plugin, but {kind}. Give the checkpoint that a "
            "trainer wrote."
        )
    start = len(_MAGIC) + _DIGEST_BYTES
    digest, payload = data[len(_MAGIC) : start].rstrip(b"\n"), data[start:]
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise CheckpointError(
            f"{path} is damaged: its checksum does not fit its {len(payload)} bytes. It was cut "
            "off or changed; use an earlier checkpoint."
        )
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what it refuses to load
        raise CheckpointError(f"{path} holds what is not loaded: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a dict.")
    return state


def save_rotating(folder: PathLike, state: Mapping[str, Any], step: int, keep: int = 2) -> Path:
    """Writes ``step_<step>.ckpt`` and removes all but the `keep` newest."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step}.ckpt"
    save_checkpoint(path, state)
    for old in _newest_first(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


def load_latest(folder: PathLike) -> dict[str, Any] | None:
    """Returns the newest state that is whole, or None if the folder holds no checkpoint.

    A damaged file is reported and passed over; the one before it is used.

    Raises:
        CheckpointError: If all are damaged.
    """
    found = _newest_first(Path(folder))
    if not found:
        return None
    problems = []
    for path in found:
        try:
            return load_checkpoint(path)
        except FileError as error:
            problems.append(str(error))
            _log.warning("%s", error)
    raise CheckpointError(
        f"No checkpoint in {folder} can be used: {' '.join(problems)} Start the run anew in "
        "another folder."
    )


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    steps = {path: _NAME.fullmatch(path.name) for path in folder.iterdir()}
    numbered = [(int(match[1]), path) for path, match in steps.items() if match]
    return [path for _, path in sorted(numbered, reverse=True)]


def _check_plain(value: Any, where: str) -> None:
    import torch

    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not isinstance(key, (str, int, float, bool, tuple)):
                raise CheckpointError(f"{where} has the key {key!r}, which cannot be saved.")
            _check_plain(entry, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            _check_plain(entry, f"{where}[{i}]")
    elif type(value) not in (str, int, float, bool, bytes, type(None)) and not isinstance(
        value, (torch.Tensor, torch.dtype, torch.Size)
    ):
        raise CheckpointError(
            f"{where} is a {type(value).__name__}, which a checkpoint cannot hold. Keep tensors, "
            "numbers, strings, and lists and dicts of them."
        )
