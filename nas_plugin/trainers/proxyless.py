"""ProxylessNAS: weights on one path, logits on two, latency among the losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.trainers._cycle import cycled
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.objective import Batch, Values
from nas_plugin.trainers.parts import ArchSchedule
from nas_plugin.trainers.search_trainer import MutatorLike


class ProxylessNasTrainer(BilevelTrainer):
    """Steps the weights on every batch and the logits on every `arch_every`-th.

    Args:
        *args: As `BilevelTrainer` takes them.
        mutator: Another differentiable mutator, or a `ProxylessMutator` with a latency table.
        warmup_epochs: Epochs that train the weights only.
        arch_every: Weight steps to one step of the logits.
        arch_learning_rate: Of the logits' Adam, betas (0, 0.999), without decay.
        split: The weights' part of the training set.
        **kwargs: As `BilevelTrainer` takes them, but not `unrolled`.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Cai, Zhu, Han 2019, https://arxiv.org/abs/1812.00332
    """

    def __init__(
        self,
        *args: Any,
        mutator: MutatorLike | None = None,
        warmup_epochs: int = 0,
        arch_every: int = 5,
        arch_learning_rate: float = 1e-3,
        split: float = 0.9,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("unrolled"):
            raise OptionError(
                "ProxylessNasTrainer has no second order: a sampled gate has no unrolled step."
            )
        if arch_every < 1:
            raise OptionError(f"arch_every must be at least 1, got {arch_every}.")
        # Adam must not move logits that were not drawn, so it has neither momentum nor decay.
        settings = {"arch_betas": (0.0, 0.999), "arch_weight_decay": 0.0, **kwargs}
        super().__init__(
            *args,
            mutator=mutator or "proxyless",
            arch_learning_rate=arch_learning_rate,
            split=split,
            **settings,
        )
        if not 0 <= warmup_epochs < self.num_epochs:
            raise OptionError(
                f"warmup_epochs must lie in [0, {self.num_epochs}), for the logits to be trained "
                f"in some of the {self.num_epochs} epochs; got {warmup_epochs}."
            )
        self.schedule = ArchSchedule(warmup_epochs, arch_every)

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
