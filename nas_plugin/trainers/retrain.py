"""Training of a found architecture from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from typing_extensions import Unpack

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.data.loader import Batch
from nas_plugin.directions import Mode
from nas_plugin.errors import OptionError
from nas_plugin.operations.drop_path import set_drop_path
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.monitor import Monitor
from nas_plugin.trainers.objective import Loss, Values
from nas_plugin.trainers.options import ModelLike, OptimizerLike, TrainerOptions
from nas_plugin.trainers.trainer import Trainer


class RetrainTrainer(Trainer):
    """Trains a plain model and keeps the best value of a held-out metric.

    Args:
        model: The network, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: What is trained on.
        dataset_valid: The held-out set, which nothing is trained on.
        aux_weight: Factor of the loss of an auxiliary head; the model then returns the pair
            ``(output, auxiliary output)`` while it trains.
        drop_path_prob: Probability at the last epoch that a path is dropped; it rises linearly.
        monitor: The held-out metric whose best value is kept, or ``loss``.
        mode: ``max`` or ``min``: whether more or less of it is better; None for known names.
        **options: As `Trainer` takes them.

    Attributes:
        best: The best value of `monitor` so far; before the first epoch ends -inf, or inf if less
            is better.

    Raises:
        OptionError: If an argument is not allowed, or choices of the model are open.
    """

    def __init__(
        self,
        model: ModelLike,
        loss: Loss,
        metrics: Metrics,
        optimizer: OptimizerLike,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        aux_weight: float = 0.0,
        drop_path_prob: float = 0.0,
        monitor: str = "accuracy",
        mode: Mode | None = None,
        **options: Unpack[TrainerOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            **options,
        )  # fmt: skip
        _require_fixed(self.model)
        if aux_weight < 0 or not 0 <= drop_path_prob < 1:
            raise OptionError(
                "aux_weight must not be negative and drop_path_prob must be in [0, 1), got "
                f"{aux_weight} and {drop_path_prob}."
            )
        self.objective.aux_weight = aux_weight
        self.drop_path_prob = drop_path_prob
        self.monitor = Monitor(monitor, mode, self.objective.metrics)
        self.best = self.monitor.worst
        self.train_loader = self.loaders.training(self.dataset_train)
        if len(self.train_loader) == 0:
            raise OptionError("The training set holds no whole batch; lower batch_size.")

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train_loader)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        return self.train_loader.batches(epoch, start)

    def start_epoch(self, epoch: int) -> None:
        set_drop_path(self.model, self.drop_path_prob * epoch / self.num_epochs)

    def train_step(self, batch: Batch) -> Values:
        reached, grads, values = self.gradients.of_paths(batch)
        self.step_weights(reached, grads)
        self.monitor.check(values)
        return values

    def validate(self) -> dict[str, float]:
        values = super().validate()
        value = self.monitor(values)
        if self.monitor.is_better(value, self.best):
            self.best = value
        return values

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.best = state["best"]


def _require_fixed(model: nn.Module) -> None:
    keys = list(dict.fromkeys(place.key for place in keyed_blocks(model)))
    if keys:
        raise OptionError(
            f"RetrainTrainer trains one architecture, but {len(keys)} choices of the model are "
            f"open, among them '{keys[0]}'. Call apply_fixed_architecture(model, architecture) "
            "first; supernets are trained by the search trainers."
        )
