"""A search in stages: each has a network of its own, made of what the stage before left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import Unpack

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.data.loader import Batch
from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.mutators import Mutator
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.callbacks import LRSchedulerCallback
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss, Values
from nas_plugin.trainers.options import BilevelOptions, check_counts
from nas_plugin.trainers.search_trainer import MutatorLike

#: What belongs to a stage: a trainer is made for it, and lends these to the staged one.
REBUILT = (
    "model", "layout", "optimizer", "weights", "objective", "gradients", "precision", "ranks",
    "_rates", "mutator", "_execution", "alphas", "arch_optimizer", "schedule", "perturbation",
    "terms",
)  # fmt: skip
#: What does not go to the trainer of a stage.
_OF_THE_WHOLE = ("callbacks", "progress", "checkpoint_dir", "checkpoint_every", "resume")


@dataclass(frozen=True)
class Made:
    """What a stage is made of.

    Args:
        model: The network, with the candidates that are left.
        loss: ``(output, target) -> scalar``.
        optimizer: Optimizer of its weights.
        scheduler: Learning-rate scheduler, stepped after every epoch; None for a constant rate.
    """

    model: nn.Module
    loss: Loss
    optimizer: Optimizer
    scheduler: LRScheduler | None


class StagedTrainer(BilevelTrainer):
    """Bilevel search in stages of equal length; between two, candidates are removed.

    A subclass gives `make` and `carry`. A checkpoint names its stage and the candidates that are
    left, and a resumed search makes that stage's network before it reads the rest. At a stage's
    end callbacks are told by `on_rebuild`.

    Args:
        n_stages: How many there are.
        keep: Candidates that a choice keeps after each stage but the last.
        metrics: ``(output, target) -> {name: number}``.
        num_epochs: Epochs of each stage.
        dataset_train: Split into the halves, or a pair (for weights, for logits).
        dataset_valid: The held-out set that neither sees.
        mutator: Name, class or factory; each stage has one of its own.
        **options: As `BilevelTrainer` takes them; ``warmup_epochs`` counts in every stage.

    Attributes:
        stage: The stage that runs, from 0.
        kept: Key → names of the candidates that are left; empty while none was removed.

    Raises:
        OptionError: If an argument is not allowed.
    """

    def __init__(
        self,
        n_stages: int,
        keep: Sequence[int],
        metrics: Metrics,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        mutator: MutatorLike,
        **options: Unpack[BilevelOptions],
    ) -> None:
        check_counts(num_epochs=num_epochs)
        self._check(mutator, options)
        self.stage, self.kept = 0, dict[str, tuple[str, ...]]()
        self.n_stages, self.stage_epochs, self.keep = n_stages, num_epochs, list(keep)
        made = self.make(0)
        super().__init__(
            made.model, made.loss, metrics, made.optimizer, n_stages * num_epochs, dataset_train,
            dataset_valid, mutator=mutator, **options,
        )  # fmt: skip
        self.scheduler = made.scheduler
        self._parts = (metrics, dataset_train, dataset_valid, mutator)
        self._options: Any = {k: v for k, v in options.items() if k not in _OF_THE_WHOLE}

    def make(self, stage: int) -> Made:
        """Makes the network of a stage; `kept` holds the candidates that are left."""
        raise NotImplementedError(f"{type(self).__name__} must say how a stage is made")

    def carry(self, before: Mapping[str, Any]) -> None:
        """Takes over what the stage before has trained; by default nothing.

        Args:
            before: Its attributes, of `REBUILT`, and its scheduler.
        """

    @property
    def stage_epoch(self) -> int:
        """Epochs done in the stage."""
        return self.epoch - self.stage * self.stage_epochs

    def progress(self, epoch: int) -> float:
        """Returns the finished part of the stage."""
        done = epoch - self.stage * self.stage_epochs
        return done / max(1, self.stage_epochs - 1)

    @property
    def arch_steps(self) -> int:
        """Steps of the logits in a stage."""
        due = self.schedule.is_due
        steps = range(self.steps_per_epoch)
        return sum(due(epoch, step) for epoch in range(self.stage_epochs) for step in steps)

    @property
    def trains_logits(self) -> bool:
        """Whether the schedule trains the logits in the epoch of the stage that runs."""
        return self.schedule.is_due(self.stage_epoch, 0)

    def start_epoch(self, epoch: int) -> None:
        stage = epoch // self.stage_epochs
        if stage != self.stage:
            self.kept = self.strongest(self.keep[self.stage])
            before = {
                **{name: getattr(self, name) for name in REBUILT},
                "scheduler": self.scheduler,
            }
            self.enter(stage)
            self.carry(before)
            self.model.train()
            for callback in self.callbacks:
                callback.on_rebuild()
            self.record("stage", {"stage": stage, "candidates": self.kept})
        super().start_epoch(epoch)

    def enter(self, stage: int) -> None:
        """Makes the network of a stage, its mutator and optimizers, and attaches the executor."""
        self.stage = stage
        metrics, dataset_train, dataset_valid, mutator = self._parts
        made = self.make(stage)
        fresh = BilevelTrainer(
            made.model, made.loss, metrics, made.optimizer, self.stage_epochs, dataset_train,
            dataset_valid, mutator=mutator, progress=False, **self._options,
        )  # fmt: skip
        for name in REBUILT:
            setattr(self, name, getattr(fresh, name))
        self.scheduler = made.scheduler

    def strongest(self, n: int) -> dict[str, tuple[str, ...]]:
        """Returns the n most probable candidates of every layer choice, in their order.

        One that may be kept is always among them; of equal ones the first is dropped first.
        """
        status = self.mutator.status()
        found: dict[str, tuple[str, ...]] = {}
        for key, choice in self.mutator.space.items():
            if choice.kind != "layer":
                continue
            names = [str(c) for c in choice.candidates]
            dropped: list[str] = []
            for name in sorted(names, key=lambda name, key=key: status[key][name]):  # type: ignore[misc]
                left = [c for c in choice.options if c not in dropped and c != name]
                if len(names) - len(dropped) > n and left:
                    dropped.append(name)
            found[key] = tuple(name for name in names if name not in dropped)
        return found

    def train_step(self, batch: tuple[Batch, Batch]) -> Values:
        train_batch, valid_batch = batch
        if self.schedule.is_due(self.stage_epoch, self.batch):
            self.arch_step(train_batch, valid_batch)
        return self.weight_step(train_batch)

    def end_epoch(self) -> None:
        super().end_epoch()
        if self.scheduler is not None:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "stage": self.stage,
            "kept": {key: list(names) for key, names in self.kept.items()},
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "stage" not in state:
            raise CheckpointError("The checkpoint is of a search without stages.")
        self.kept = {key: tuple(names) for key, names in state["kept"].items()}
        if state["stage"] != self.stage:
            self.enter(state["stage"])
            for callback in self.callbacks:
                callback.on_rebuild()
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        super().load_state_dict(state)

    def _check(self, mutator: MutatorLike, options: Mapping[str, Any]) -> None:
        if isinstance(mutator, Mutator) or options.get("arch_optimizer") is not None:
            raise OptionError(
                f"{type(self).__name__} makes a network for every stage, so it takes a mutator by "
                "name, class or factory, and no arch_optimizer. Set arch_learning_rate."
            )
        if any(isinstance(c, LRSchedulerCallback) for c in options.get("callbacks", ())):
            raise OptionError(
                f"The learning rate of {type(self).__name__} belongs to a stage: let what makes "
                "the network return its scheduler, and leave LRSchedulerCallback out."
            )


def remove_candidates(
    model: nn.Module, kept: Mapping[str, Sequence[str]], optimizer: Optimizer | None = None
) -> None:
    """Removes candidates that are not kept, from the model and from the optimizer of its weights.

    Raises:
        OptionError: If a candidate that is kept is not there.
    """
    for place in keyed_blocks(model):
        block = place.block
        if not isinstance(block, LayerChoice) or place.key not in kept:
            continue
        missing = [name for name in kept[place.key] if name not in block.names]
        if missing:
            raise OptionError(f"The network of the stage lacks {missing} at '{place.key}'.")
        for name in [name for name in block.names if name not in kept[place.key]]:
            del block[name]
    if optimizer is not None:
        left = {id(p) for p in model.parameters()}
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) in left]
