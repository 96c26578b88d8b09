"""The test figures of the epoch that validation chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_plugin.data import make_loader
from nas_plugin.errors import OptionError
from nas_plugin.files import save_checkpoint
from nas_plugin.trainers.callbacks import Callback
from nas_plugin.trainers.retrain import RetrainTrainer


class BestEpoch(Callback):
    """Measures the test set where the held-out metric is better than ever before, and only there.

    So the test set chooses nothing: `test` belongs to the epoch that validation prefers, the first
    of equal ones.

    Args:
        dataset_test: What is measured.
        augment: Applied to it (normalisation).
        batch_size: Samples a batch.
        path: Where the weights of that epoch are written; None writes none.

    Attributes:
        epoch: The chosen epoch, counted from 0; -1 before the first has ended.
        valid: Its value of the trainer's `monitor`.
        test: Its loss and metrics on the test set.

    Raises:
        OptionError: If the trainer is no `RetrainTrainer`.
    """

    trainer: RetrainTrainer

    def __init__(
        self,
        dataset_test: Any,
        *,
        augment: Any = None,
        batch_size: int = 256,
        path: str | Path | None = None,
    ) -> None:
        self._dataset, self._augment, self._batch_size = dataset_test, augment, batch_size
        self._path = path
        self.epoch, self.valid = -1, float("nan")
        self.test: dict[str, float] = {}

    def build(self, trainer: Any) -> None:
        if not isinstance(trainer, RetrainTrainer):
            raise OptionError(
                f"BestEpoch belongs to a RetrainTrainer; {type(trainer).__name__} keeps no best."
            )
        super().build(trainer)
        self._loader = make_loader(
            self._dataset, batch_size=self._batch_size, seed=0, shuffle=False,
            augment=self._augment, device=trainer.device,
        )  # fmt: skip

    def on_epoch_end(self, epoch: int) -> None:
        if self.trainer.best == self.valid or self.trainer.best == self.trainer.monitor.worst:
            return
        self.epoch, self.valid = epoch, self.trainer.best
        self.test = self.trainer.measured(self._loader)
        self.trainer.record("test", self.test)
        if self._path is not None and self.trainer.ranks.is_first:
            save_checkpoint(self._path, self.trainer.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "valid": self.valid, "test": self.test}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.valid, self.test = state["epoch"], state["valid"], state["test"]
