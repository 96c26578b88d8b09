"""Training of a found architecture from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from nas_plugin.errors import OptionError
from nas_plugin.operations.drop_path import set_drop_path
from nas_plugin.trainers.metrics import monitored
from nas_plugin.trainers.search_trainer import Batch, micro_batches
from nas_plugin.trainers.trainer import Trainer, Values


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
        self.aux_weight = aux_weight
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
        values: Values = {}
        for param in self.weights:
            param.grad = None
        for part, share in micro_batches(batch, self.accumulate):
            for name, value in self._backward(part, share).items():
                values[name] = values.get(name, 0.0) + torch.as_tensor(value).detach() * share
        self.ranks.average([p.grad for p in self.weights if p.grad is not None])
        self.precision.step(self.optimizer, self.weights, self.grad_clip)
        self.ranks.copy_from_first(list(self.model.buffers()))
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

    def _backward(self, batch: Batch, share: float) -> Mapping[str, Tensor | float]:
        inputs, targets = batch
        with self.precision.autocast():
            output = self.forward(inputs)
            auxiliary = None
            if isinstance(output, tuple):
                output, auxiliary = output
            loss = objective = self.loss(output, targets)
            if auxiliary is not None and self.aux_weight > 0:
                objective = loss + self.aux_weight * self.loss(auxiliary, targets)
        self.precision.scale(objective * share).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            return {"loss": loss, **self.metrics(output, targets)}
