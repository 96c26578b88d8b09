"""The files of a trial's folder, by which the tuner on the same machine knows what it ran."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.experiment.journal import FOLDER

_MAX_BYTES = 16 << 20

#: parameter, attempt, pid: written as soon as the parameters have come.
CLAIM = "claim.json"
#: metrics and architecture, or what was refused: written before the manager is told.
RESULT = "result.json"
#: the exception that ended the trial.
ERROR = "error.json"


def write_record(trial: Path, name: str, record: dict[str, Any]) -> None:
    """Writes a JSON file into the trial's folder, whole or not at all."""
    folder = trial / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)


def read_record(trial: Path, name: str) -> dict[str, Any] | None:
    """Returns what `write_record` wrote; None if it did not.

    Raises:
        FileError: If the file holds something else.
    """
    path = trial / FOLDER / name
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _MAX_BYTES else ""
    except FileNotFoundError:
        return None
    try:
        record = json.loads(text)
    except ValueError as error:
        raise FileError(f"{path} is not JSON: {error}.") from error
    if not isinstance(record, dict):
        raise FileError(f"{path} must hold a JSON object, found {type(record).__name__}.")
    return record


def trial_folders(experiment: Path) -> dict[str, Path]:
    """Returns trial id -> folder of the trials that ran on this machine."""
    return {path.name: path for path in experiment.glob("environments/*/trials/*")}
