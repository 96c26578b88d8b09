"""A folder of the latest checkpoints, and the newest of them that is whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_plugin.errors import CheckpointError, FileError, OptionError
from nas_plugin.files.checkpoint import load_checkpoint, save_checkpoint
from nas_plugin.files.folder import make_folder
from nas_plugin.files.read import PathLike

_NAME = re.compile(r"step_([0-9]+)\.ckpt")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatestCheckpoint:
    """What `find_latest` found.

    Attributes:
        path: The file that was used.
        state: Its state.
        problems: What is wrong with the newer files that were passed over, newest first.
    """

    path: Path
    state: dict[str, Any]
    problems: tuple[str, ...] = ()


def save_rotating(folder: PathLike, state: Mapping[str, Any], step: int, keep: int = 2) -> Path:
    """Writes ``step_<step>.ckpt``, then removes what it outdates.

    That is all but the `keep` newest; files of later steps, from which the run did not go on; and
    the parts that killed processes left.

    Raises:
        OptionError: If `step` is negative, or `keep` less than 1.
        FileError: If it cannot be written; the older ones stay.
    """
    if step < 0 or keep < 1:
        raise OptionError(f"step must be at least 0 and keep at least 1, got {step} and {keep}.")
    folder = make_folder(folder)
    path = folder / f"step_{step}.ckpt"
    save_checkpoint(path, state)
    found = _newest_first(folder)
    outdated = [old for number, old in found if number > step]
    outdated += [old for number, old in found if number <= step][keep:]
    outdated += folder.glob(".step_*.ckpt.*.tmp")
    for old in outdated:
        with suppress(OSError):  # the new one is there; an old one too many does no harm
            old.unlink()
    return path


def holds_checkpoint(folder: PathLike) -> bool:
    """Says whether a folder holds a checkpoint, whole or not."""
    return bool(_newest_first(Path(folder)))


def load_latest(folder: PathLike) -> dict[str, Any] | None:
    """Returns the state of the newest whole checkpoint, or None; see `find_latest`."""
    latest = find_latest(folder)
    return None if latest is None else latest.state


def find_latest(folder: PathLike) -> LatestCheckpoint | None:
    """Returns the newest checkpoint that is whole, or None if the folder holds none.

    A damaged file is passed over with a warning in the log that names it and the one used instead.

    Raises:
        CheckpointError: If all are damaged.
    """
    found = _newest_first(Path(folder))
    problems: list[str] = []
    for _, path in found:
        try:
            state = load_checkpoint(path)
        except FileError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            _log.warning("%s Going on from %s instead.", problem, path.name)
        return LatestCheckpoint(path, state, tuple(problems))
    if problems:
        raise CheckpointError(
            f"No checkpoint in {folder} can be used: {' '.join(problems)} Start the run anew in "
            "another folder."
        )
    return None


def _newest_first(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return sorted(((int(match[1]), path) for path, match in matches if match), reverse=True)
