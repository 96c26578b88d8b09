"""What the files of this machine say about trials: who took which parameters, how each ended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_plugin.experiment import trial_files
from nas_plugin.experiment.journal import FOLDER
from nas_plugin.experiment.outcome import Evidence


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

    def result(self, trial: str) -> dict[str, Any] | None:
        """Returns the result that a trial kept, sent or not."""
        folder = self.folder(trial)
        return trial_files.read_record(folder, trial_files.RESULT) if folder else None

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
        if self._exits.is_file():
            with self._exits.open("rb") as lines:
                lines.seek(self._offset)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    entry = json.loads(line)
                    if entry["event"] == "start":
                        self._processes[entry["trial"]] = []
                    self._processes.setdefault(entry["trial"], []).append(entry)
        return self._processes.get(trial, [])
