"""Training of a found architecture from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.operations.drop_path import set_drop_path
from nas_plugin.trainers.metrics import monitored
from nas_plugin.trainers.objective import Batch, Values
from nas_plugin.trainers.trainer import Trainer


class RetrainTrainer(Trainer):
    """Trains a plain model and keeps the best held-out accuracy.

    Args:
        *args: As `Trainer` takes them.
        aux_weight: Factor of the loss of an auxiliary head; the model then returns the pair
            ``(output, auxiliary output)`` while it trains.
        drop_path_prob: Probability at the last epoch that a path is dropped; it rises linearly.
        monitor: The held-out metric whose best value is kept; larger is better.
        **kwargs: As `Trainer` takes them.

    Attributes:
        best: The best value of `monitor` so far, -inf before the first epoch ends.

    Raises:
        OptionError: If an argument is not allowed.
    """

    def __init__(
        self,
        *args: Any,
        aux_weight: float = 0.0,
        drop_path_prob: float = 0.0,
        monitor: str = "accuracy",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if aux_weight < 0 or not 0 <= drop_path_prob < 1:
            raise OptionError(
                "aux_weight must not be negative and drop_path_prob must lie in [0, 1), got "
                f"{aux_weight} and {drop_path_prob}."
            )
        self.objective.aux_weight = aux_weight
        self.drop_path_prob = drop_path_prob
        self.monitor = monitor
        self.best = float("-inf")
        self.train_loader = self.loader(self.dataset_train)
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
        monitored(values, self.monitor)
        return values

    def validate(self) -> dict[str, float]:
        values = super().validate()
        self.best = max(self.best, monitored(values, self.monitor))
        return values

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.best = state["best"]
