"""What the files of this machine say about trials: who took which parameters, how each ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.experiment import trial_files
from nas_plugin.experiment.coordinator import Kept
from nas_plugin.experiment.journal import FOLDER
from nas_plugin.experiment.outcome import Evidence
from nas_plugin.files import open_bounded, parse_json, read_lines

_MAX_BYTES, _MAX_LINE = 2**30, 2**20
_MAX_OUTPUT, _TAIL, _LINES = 2**40, 10_000, 5
_FIELDS: dict[str, set[str]] = {
    "given": {"parameter", "attempt"},
    "start": set(),
    "stop": set(),
    "exit": {"code", "signal"},
}


class LocalEvidence:
    """Reads the trials' folders and the guard's record of processes.

    Trials on other machines leave nothing here; the manager's word is then all there is.

    Args:
        experiment: The experiment's folder.
    """

    def __init__(self, experiment: Path) -> None:
        self._experiment = experiment
        self._exits = experiment / FOLDER / "exits.jsonl"
        self._offset = 0
        self._processes: dict[str, list[dict[str, Any]]] = {}
        self._given: dict[str, dict[str, Any]] = {}

    def folder(self, trial: str) -> Path | None:
        """Returns a trial's folder, None if it ran elsewhere."""
        return next(self._experiment.glob(f"environments/*/trials/{trial}"), None)

    def claims(self, known: set[str]) -> list[dict[str, Any]]:
        """Returns the claims of the trials that are not `known`."""
        found = []
        for trial, folder in trial_files.trial_folders(self._experiment).items():
            if trial not in known:
                claim = trial_files.read_record(folder, trial_files.CLAIM)
                if claim is not None:
                    found.append(claim)
        return found

    def claim(self, trial: str) -> dict[str, Any] | None:
        """Returns a trial's claim."""
        folder = self.folder(trial)
        return trial_files.read_record(folder, trial_files.CLAIM) if folder else None

    def given(self, trial: str) -> dict[str, Any] | None:
        """Returns the parameter and attempt that a guarded manager made a trial for."""
        self._read()
        return self._given.get(trial)

    def last_words(self, trial: str) -> str:
        """Returns the last lines that a trial wrote to its standard error."""
        folder = self.folder(trial)
        path = None if folder is None else folder / "trial.stderr"
        if path is None or not path.is_file():
            return ""
        with open_bounded(path, _MAX_OUTPUT) as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL))
            lines = stream.read().decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-_LINES:])

    def result(self, trial: str) -> dict[str, Any] | None:
        """Returns the result that a trial kept, sent or not."""
        folder = self.folder(trial)
        return trial_files.read_record(folder, trial_files.RESULT) if folder else None

    def kept(self) -> list[Kept]:
        """Returns the final results of all trials that ran on this machine."""
        found = []
        for trial, folder in trial_files.trial_folders(self._experiment).items():
            record = trial_files.read_record(folder, trial_files.RESULT) or {}
            parameter, attempt = record.get("parameter"), record.get("attempt")
            metrics = record.get("metrics")
            if isinstance(parameter, int) and isinstance(attempt, int) and metrics is not None:
                found.append(Kept(trial, parameter, attempt, metrics, record.get("architecture")))
        return found

    def of(self, trial: str, status: str) -> Evidence:
        """Returns what is known of a trial's end, beside its result."""
        evidence = Evidence(status)
        folder = self.folder(trial)
        error = trial_files.read_record(folder, trial_files.ERROR) if folder else None
        if error is not None:
            message = f"{error.get('type')}: {error.get('message')}"
            stopped = error.get("type") == "KeyboardInterrupt"
            evidence = replace(evidence, message=message, asked_to_stop=stopped)
        for entry in self._of_process(trial):
            if entry["event"] == "stop":
                evidence = replace(evidence, asked_to_stop=True)
            elif entry["event"] == "exit":
                evidence = replace(evidence, exit_code=entry["code"], signal=entry["signal"])
        return evidence

    def _of_process(self, trial: str) -> list[dict[str, Any]]:
        """Returns what the guard wrote about a trial's latest process."""
        self._read()
        return self._processes.get(trial, [])

    def _read(self) -> None:
        """Reads what the guard has written since the last time."""
        if self._exits.is_file():
            for _, line in read_lines(self._exits, _MAX_BYTES, _MAX_LINE, start=self._offset):
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                entry = parse_json(line.decode(errors="replace"), str(self._exits))
                if not _is_exit_record(entry):
                    raise FileError(
                        f"{self._exits}: found {line[:80]!r}, which is no event of a "
                        "trial. Restore the file from a copy."
                    )
                if entry["event"] == "given":
                    self._given[entry["trial"]] = entry
                    continue
                if entry["event"] == "start":
                    self._processes[entry["trial"]] = []
                self._processes.setdefault(entry["trial"], []).append(entry)


def _is_exit_record(entry: Any) -> bool:
    """Says whether an entry is what the guard writes about a process."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("trial"), str)
        and entry.get("event") in _FIELDS
        and _FIELDS[entry["event"]] <= set(entry)
    )
