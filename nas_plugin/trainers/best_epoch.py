"""The epoch that validation chooses: its weights, and its figures on the test set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nas_plugin.data import check_alike, make_loader
from nas_plugin.errors import OptionError
from nas_plugin.files import save_checkpoint
from nas_plugin.trainers.callbacks import Callback
from nas_plugin.trainers.retrain import RetrainTrainer


class BestEpoch(Callback):
    """Keeps the weights of the best epoch and measures the test set once, when training is over.

    So the test set chooses nothing: `test` belongs to the epoch that validation prefers, the first
    of equal ones. After training the model holds that epoch's weights.

    Args:
        dataset_test: What is measured.
        augment: Applied to it; ``auto`` is what the trainer applies to its held-out set.
        batch_size: Samples a batch.
        path: Where the weights of that epoch are written; None writes none.

    Attributes:
        epoch: The chosen epoch, counted from 0; -1 before the first has ended.
        valid: Its value of the trainer's `monitor`.
        test: Its loss and metrics on the test set; empty before training is over.

    Raises:
        OptionError: If the trainer is no `RetrainTrainer`.
    """

    trainer: RetrainTrainer

    def __init__(
        self,
        dataset_test: Any,
        *,
        augment: Any = "auto",
        batch_size: int = 256,
        path: str | Path | None = None,
    ) -> None:
        self._dataset, self._augment, self._batch_size = dataset_test, augment, batch_size
        self._path = path
        self.epoch, self.valid = -1, float("nan")
        self.test: dict[str, float] = {}
        self._weights: dict[str, Tensor] = {}

    def build(self, trainer: Any) -> None:
        if not isinstance(trainer, RetrainTrainer):
            raise OptionError(
                f"BestEpoch belongs to a RetrainTrainer; {type(trainer).__name__} keeps no best."
            )
        super().build(trainer)
        check_alike(trainer.dataset_train, self._dataset)
        auto = isinstance(self._augment, str) and self._augment == "auto"
        self._loader = make_loader(
            self._dataset, batch_size=self._batch_size, seed=0, shuffle=False,
            augment=trainer.loaders.eval_augment if auto else self._augment, device=trainer.device,
        )  # fmt: skip

    def on_epoch_end(self, epoch: int) -> None:
        trainer = self.trainer
        if trainer.best != self.valid and trainer.best != trainer.monitor.worst:
            self.epoch, self.valid = epoch, trainer.best
            self._weights = _copied(trainer.model.state_dict())
            if self._path is not None and trainer.ranks.is_first:
                save_checkpoint(self._path, self._weights)
        if epoch + 1 == trainer.num_epochs and self._weights:
            last = _copied(trainer.model.state_dict())
            self._measure()
            # The checkpoint that follows holds the weights of the last epoch.
            trainer.model.load_state_dict(last)

    def _measure(self) -> None:
        self.trainer.model.load_state_dict(self._weights)
        self.test = self.trainer.measured(self._loader)
        self.trainer.record("test", {**self.test, "chosen_epoch": self.epoch})

    def on_train_end(self) -> None:
        # A callback that stops the run may come after this one, so only the end knows.
        if self.trainer.stopped is not None and self._weights and not self.test:
            self._measure()
        if self.test:
            self.trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch, "valid": self.valid, "test": self.test, "weights": self._weights,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.valid, self.test = state["epoch"], state["valid"], state["test"]
        self._weights = dict(state["weights"])


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
