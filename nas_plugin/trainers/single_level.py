"""Single-level search: weights and logits step together on one batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typing_extensions import Unpack

from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.trainers.arch_trainer import ArchTrainer
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss, Values
from nas_plugin.trainers.options import ArchOptions, ModelLike, OptimizerLike
from nas_plugin.trainers.search_trainer import MutatorLike


class SingleLevelTrainer(ArchTrainer):
    """Steps weights and logits on the gradient of one pass over one batch, as DATA and DiDARTS.

    All of the training set trains both; nothing is held out for the logits.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: What weights and logits are trained on.
        dataset_valid: The held-out set that neither sees.
        mutator: Name, class, factory or instance of a differentiable mutator.
        **options: As `ArchTrainer`, `SearchTrainer` and `Trainer` take them.

    Raises:
        OptionError: If an argument is not allowed, or there is a perturbation: one pass cannot
            have a mix for the weights and another for the logits.
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
        mutator: MutatorLike,
        **options: Unpack[ArchOptions],
    ) -> None:
        if options.get("perturbation") is not None:
            raise OptionError(
                "SingleLevelTrainer computes both gradients in one pass, so a perturbation would "
                "reach the logits too. Use BilevelTrainer, or leave the perturbation out."
            )
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip
        self.train_loader = self.loaders.training(dataset_train)
        self.require_batches(training=((dataset_train, None), self.train_loader))

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train_loader)

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        return self.train_loader.batches(epoch, start)

    def train_step(self, batch: Batch) -> Values:
        if not self.schedule.is_due(self.epoch, self.batch):
            grads, values = self.gradients(batch, self.weights)
            self.step_weights(self.weights, grads)
            return values
        wrt = [*self.alphas, *self.weights]
        grads, values = self.gradients(batch, wrt, terms=self.terms)
        n = len(self.alphas)
        self.gradients.step(self.arch_optimizer, self.alphas, grads[:n])
        self.mutator.after_arch_step()
        self.step_weights(self.weights, grads[n:])
        return values
