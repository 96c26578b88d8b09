"""Callbacks that show a run: its log, TensorBoard, drawings of the cell, a progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_plugin.files import make_folder, write_atomic
from nas_plugin.reporting.architecture_svg import draw_architecture
from nas_plugin.reporting.jsonl import JsonlLog
from nas_plugin.reporting.tensorboard import TensorBoardLog
from nas_plugin.trainers.callbacks import Callback, Run, require_architecture
from nas_plugin.trainers.progress import ProgressCallback


class JsonlCallback(Callback):
    """Writes every record to a JSON-lines file, which a resumed run continues.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._log: JsonlLog | None = None
        self._resume_at: int | None = None

    def on_train_begin(self) -> None:
        if self.trainer.ranks.is_first:
            self._log = JsonlLog(self.path, self._resume_at, elapsed=self.trainer.elapsed)

    def on_record(self, record: Mapping[str, Any]) -> None:
        if self._log is None:
            return
        if self._log.closed:  # found by an export after the training
            self._log = JsonlLog(self.path, self._log.position)
            self._log.write(record)
            self._log.close()
        else:
            self._log.write(record)

    def on_train_end(self) -> None:
        if self._log is not None:
            self._log.close()

    def state_dict(self) -> dict[str, Any]:
        return {"position": 0 if self._log is None else self._log.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resume_at = state["position"]


class TensorBoardCallback(Callback):
    """Writes every record as TensorBoard events.

    Args:
        folder: Where the events go.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._log: TensorBoardLog | None = None
        self._ended = False

    def on_train_begin(self) -> None:
        if self.trainer.ranks.is_first:
            done = self.trainer.step
            self._log = TensorBoardLog(self.folder, purge_step=done + 1 if done else None)

    def on_record(self, record: Mapping[str, Any]) -> None:
        if self._log is not None:
            self._log.write(record)
            if self._ended:  # found by an export after the training
                self._log.close()

    def on_epoch_end(self, epoch: int) -> None:
        if self._log is not None:
            self._log.flush()

    def on_train_end(self) -> None:
        self._ended = True
        if self._log is not None:
            self._log.close()


class DrawingCallback(Callback):
    """Draws the architecture after every epoch: ``<folder>/epoch_<N>.svg``.

    Args:
        folder: Where the drawings go.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._weights: Mapping[str, Mapping[str, float]] = {}

    def build(self, trainer: Run) -> None:
        require_architecture(self, trainer)
        super().build(trainer)

    def on_record(self, record: Mapping[str, Any]) -> None:
        if record["phase"] == "choices":
            self._weights = record["probabilities"]

    def on_epoch_end(self, epoch: int) -> None:
        if self.trainer.ranks.is_first:
            make_folder(self.folder)
            svg = draw_architecture(
                self.trainer.export().to_json(), title=f"epoch {epoch}", weights=self._weights
            )
            write_atomic(self.folder / f"epoch_{epoch}.svg", svg)


def run_callbacks(out: str | Path, name: str, *, drawings: bool = False) -> list[Callback]:
    """Returns what a script shows of a run.

    Args:
        out: The run's folder: it gets ``<name>.jsonl``, TensorBoard events below ``tensorboard``
            and, with `drawings`, the cell of every epoch below ``cells``.
        name: ``search`` or ``retrain``.
        drawings: Whether the run has an architecture to draw.
    """
    folder = Path(out)
    shown: list[Callback] = [
        JsonlCallback(folder / f"{name}.jsonl"),
        TensorBoardCallback(folder / "tensorboard" / name),
        ProgressCallback(name),
    ]
    return [*shown, DrawingCallback(folder / "cells")] if drawings else shown
