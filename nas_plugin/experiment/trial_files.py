"""The files of a trial's folder, by which the tuner on the same machine knows what it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_plugin.experiment.journal import FOLDER
from nas_plugin.files import read_json, write_json
from nas_plugin.files.shape import check_json

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
    write_json(folder / name, record)


def read_record(trial: Path, name: str) -> dict[str, Any] | None:
    """Returns what `write_record` wrote; None if it did not.

    Raises:
        FileError: If the file holds something else.
    """
    path = trial / FOLDER / name
    if not path.is_file():
        return None
    record: dict[str, Any] = check_json(read_json(path), {}, str(path), extra=True)
    return record


def trial_folders(experiment: Path) -> dict[str, Path]:
    """Returns trial id -> folder of the trials that ran on this machine."""
    return {path.name: path for path in experiment.glob("environments/*/trials/*")}
