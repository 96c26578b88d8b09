"""What NNI's own database says about the trials, and where it disagrees with the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.experiment.results import REPEATED, Row
from nas_plugin.experiment.space_format import BESIDE, label
from nas_plugin.files import parse_json

_STATUS = {
    "SUCCEEDED": ("succeeded",),
    "FAILED": ("failed", "killed", "not_a_number", "invalid_result", "stopped"),
    "USER_CANCELED": ("stopped",),
    "SYS_CANCELED": ("stopped",),
    "EARLY_STOPPED": ("stopped",),
}


@dataclass(frozen=True)
class Disagreement:
    """A trial that NNI's database and the journal describe differently.

    Args:
        number: The portal's number of the trial.
        trial: Its id.
        what: ``architecture`` or ``outcome``.
        nni: What NNI's database, portal and export say.
        journal: What is true.
    """

    number: int | None
    trial: str
    what: str
    nni: Any
    journal: Any


def database_parameters(experiment: Path) -> dict[str, tuple[int | None, Mapping[str, Any], str]]:
    """Returns trial id -> (number, parameters, status) as NNI's database has them.

    Raises:
        FileError: If there is no database.
    """
    path = experiment.resolve() / "db" / "nni.sqlite"
    if not path.is_file():
        raise FileError(f"NNI's database is not at {path}; was the experiment ever started?")
    found: dict[str, tuple[int | None, Mapping[str, Any], str]] = {}
    query = "select trialJobId, event, data, sequenceId from TrialJobEvent order by rowid"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            events = connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise FileError(f"NNI's database {path} cannot be read: {error}.") from error
    for trial, event, data, number in events:
        if not trial:
            continue
        _, parameters, status = found.get(trial, (None, {}, ""))
        if data and not parameters:
            parameters = parse_json(data, str(path)).get("parameters") or {}
        found[trial] = (number, parameters, event if event.isupper() else status)
    return found


def disagreements(experiment: Path, table: Sequence[Row]) -> list[Disagreement]:
    """Returns where NNI's database is wrong, in the order of the trials' ends."""
    known = database_parameters(experiment)
    found = []
    for row in table:
        if row.trial is None or row.trial not in known:
            continue
        number, parameters, status = known[row.trial]
        flat = _flat(row.architecture)
        parameters = {key: value for key, value in parameters.items() if key not in BESIDE}
        if row.parameter is not None and parameters != flat:
            found.append(Disagreement(number, row.trial, "architecture", parameters, flat))
        allowed = None if row.outcome == REPEATED else _STATUS.get(status)
        if allowed is not None and row.outcome not in allowed:
            found.append(Disagreement(number, row.trial, "outcome", status, row.outcome))
    return found


def _flat(architecture: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: label(value) for key, value in (architecture or {}).items()}
