"""ProxylessNAS: weights on one path, logits on two, latency among the losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from typing_extensions import Unpack

from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.trainers._cycle import cycled
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss, Values
from nas_plugin.trainers.options import ArchOptions, ModelLike, OptimizerLike
from nas_plugin.trainers.search_trainer import MutatorLike


class ProxylessNasTrainer(BilevelTrainer):
    """Steps the weights on every batch and the logits on every `arch_every`-th.

    There is no second order: a sampled gate has no unrolled step.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: Split into the parts, or a pair (for weights, for logits).
        dataset_valid: The held-out set that neither sees.
        mutator: Another differentiable mutator, or a `ProxylessMutator` with a latency table.
        arch_every: Weight steps to one step of the logits.
        arch_learning_rate: Learning rate of the logits' Adam; 1e-3 if None.
        arch_weight_decay: Weight decay of the logits' Adam; 0 if None.
        arch_betas: Betas of the logits' Adam; (0, 0.999) if None.
        split: The weights' part of the training set.
        **options: As `BilevelTrainer`, `SearchTrainer` and `Trainer` take them.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Cai, Zhu, Han 2019, https://arxiv.org/abs/1812.00332
    """

    # Adam must not move logits that were not drawn, so it has neither momentum nor decay.
    adam: ClassVar[Mapping[str, Any]] = {"lr": 1e-3, "betas": (0.0, 0.999), "weight_decay": 0.0}

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
        mutator: MutatorLike | None = None,
        arch_every: int = 5,
        split: float = 0.9,
        **options: Unpack[ArchOptions],
    ) -> None:
        if arch_every < 1:
            raise OptionError(f"arch_every must be at least 1, got {arch_every}.")
        if options.get("schedule") is not None:
            raise OptionError("arch_every says when the logits train, so schedule must be None.")
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator or "proxyless", split=split, **options,
        )  # fmt: skip
        self.schedule.every = arch_every

    @property
    def steps_per_epoch(self) -> int:
        # The logits' part is passed over as often as it takes.
        return len(self.train_loader)

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        an_epoch = -(-self.steps_per_epoch // self.schedule.every)
        done = -(-start // self.schedule.every)
        logits = cycled(self.arch_loader, epoch * an_epoch + done)
        for i, batch in enumerate(self.train_loader.batches(epoch, start), start=start):
            yield batch, next(logits) if self.schedule.is_due(epoch, i) else None

    def train_step(self, batch: tuple[Batch, Batch | None]) -> Values:
        train_batch, arch_batch = batch
        values = self.weight_step(train_batch)
        if arch_batch is not None:
            self.arch_step(train_batch, arch_batch)
        return values
