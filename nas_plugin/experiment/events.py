"""Reported as TensorBoard events, where the portal's TensorBoard button looks for them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from nas_plugin.experiment.metrics import Reported


class EventWriter:
    """Appends scalars to an event file; writes nothing where tensorboard is not installed.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ModuleNotFoundError:
            self._writer: Any = None
            return
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.trial.{os.getpid()}"
        self._path = folder / name
        self._event, self._writer = Event, RecordWriter
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def write(self, metrics: Reported, step: int, prefix: str = "") -> None:
        """Writes each metric under its name."""
        if self._writer is None:
            return
        event = self._event(wall_time=time.time(), step=step)
        for name, value in metrics.items():
            event.summary.value.add(tag=prefix + name, simple_value=value)
        self._write(event)

    def _write(self, event: Any) -> None:
        with self._path.open("ab") as file:
            self._writer(file).write(event.SerializeToString())
