"""What a trainer says while it runs: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_plugin.progress import Progress
from nas_plugin.trainers.callbacks import Callback

_POSITION = ("step", "epoch", "phase", "time")


class ProgressCallback(Callback):
    """Shows steps as a bar on a terminal, and prints one line per epoch everywhere.

    The first line says how inputs are normalised and augmented.

    The records of single steps, which `log_frequency` asks for, stand beside the bar; without a
    terminal each is a line.

    Args:
        desc: What is being done; the trainer's class if None.
    """

    def __init__(self, desc: str | None = None) -> None:
        self.desc = desc
        self._bar: Progress | None = None
        self._latest: dict[str, str] = {}

    def on_train_begin(self) -> None:
        if self.trainer.ranks.is_first:
            trainer = self.trainer
            total = trainer.num_epochs * trainer.steps_per_epoch
            desc = self.desc or type(trainer).__name__
            self._bar = Progress(total, desc, initial=trainer.step)
            self._bar.note(trainer.inputs_as)

    def on_batch_end(self) -> None:
        if self._bar is not None:
            self._bar.update(1, **self._latest)

    def on_record(self, record: Mapping[str, Any]) -> None:
        if self._bar is None or record["phase"] not in ("train", "epoch"):
            return
        figures = {k: f"{v:.4f}" for k, v in record.items() if k not in _POSITION}
        said = "  ".join(f"{name} {value}" for name, value in figures.items())
        epoch = f"epoch {record['epoch'] + 1}/{self.trainer.num_epochs}"
        if record["phase"] == "epoch":
            self._bar.note(f"{epoch}  {said}  ({record['time']:.0f} s)")
        elif self._bar.enabled:
            self._latest = figures
        else:
            self._bar.note(f"{epoch}  step {record['step']}  {said}")

    def on_train_end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
