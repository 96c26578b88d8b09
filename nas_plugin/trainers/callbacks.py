"""What happens beside training: schedules, files, logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nas_plugin.errors import OptionError
from nas_plugin.files import make_folder, save_checkpoint
from nas_plugin.runtime import Ranks


class Run(Protocol):
    """What every callback may ask of the trainer that calls it.

    Attributes:
        model: The network.
        optimizer: Optimizer of the weights.
        num_epochs: Epochs in all.
        epoch: The epoch that runs.
        step: Steps done in all.
        given: What the last step was given: a batch, or those of weights and logits.
        ranks: The processes of the run.
    """

    model: nn.Module
    optimizer: Optimizer
    num_epochs: int
    epoch: int
    step: int
    given: Any
    ranks: Ranks

    @property
    def finds_architecture(self) -> bool:
        """Whether `export` has an architecture to give."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch."""
        ...

    @property
    def inputs_as(self) -> str:
        """What happens to inputs before the model sees them, in words."""
        ...

    @property
    def elapsed(self) -> float:
        """Seconds of training, earlier parts of a resumed run included."""
        ...

    def record(self, phase: str, values: Mapping[str, Any]) -> None:
        """Gives a log record to all callbacks."""
        ...

    def export(self, path: str | Path | None = None) -> Any:
        """Writes and returns the architecture that was found."""
        ...


class Callback:
    """Called by a trainer; override what is needed.

    What changes during a run belongs into `state_dict`: it is saved in every checkpoint.
    """

    trainer: Run

    def build(self, trainer: Run) -> None:
        """Called once, before training and before a checkpoint is read."""
        self.trainer = trainer

    def on_train_begin(self) -> None:
        """Called when training starts or continues."""

    def on_rebuild(self) -> None:
        """Called when a search in stages has made another network, mutator and optimizers."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Called before an epoch, and again if a resumed run continues inside it."""

    def on_batch_end(self) -> None:
        """Called after every step."""

    def on_record(self, record: Mapping[str, Any]) -> None:
        """Called with every log record, on the first rank only."""

    def on_epoch_end(self, epoch: int) -> None:
        """Called after an epoch and its validation."""

    def on_train_end(self) -> None:
        """Called when training ended, also by an error or a signal."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""


class LRSchedulerCallback(Callback):
    """Steps a learning-rate scheduler.

    Args:
        scheduler: Any scheduler of torch but ReduceLROnPlateau, or a function that makes it of the
            trainer's optimizer.
        mode: ``epoch`` steps it after every epoch, ``batch`` after every step.

    Raises:
        OptionError: If the mode or the scheduler is another.
    """

    def __init__(
        self, scheduler: LRScheduler | Callable[[Optimizer], LRScheduler], mode: str = "epoch"
    ) -> None:
        if mode not in ("epoch", "batch"):
            raise OptionError(f"LRSchedulerCallback: mode must be epoch or batch, got {mode!r}.")
        self.mode = mode
        self._make: Callable[[Optimizer], LRScheduler] | None = None
        if isinstance(scheduler, LRScheduler):
            self.scheduler = _checked(scheduler)
        else:
            self._make = scheduler

    def build(self, trainer: Run) -> None:
        super().build(trainer)
        if self._make is not None:
            self.scheduler, self._make = _checked(self._make(trainer.optimizer)), None

    def on_batch_end(self) -> None:
        if self.mode == "batch":
            self.scheduler.step()

    def on_epoch_end(self, epoch: int) -> None:
        if self.mode == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


def _checked(scheduler: LRScheduler) -> LRScheduler:
    if isinstance(scheduler, ReduceLROnPlateau):
        raise OptionError(
            "LRSchedulerCallback cannot step ReduceLROnPlateau, which wants a figure with every "
            "step. Call its step() from a Callback of your own, in on_epoch_end."
        )
    return scheduler


def require_architecture(callback: Callback, trainer: Run) -> None:
    """Raises OptionError if the trainer finds no architecture, which the callback asks it for."""
    if not trainer.finds_architecture:
        raise OptionError(
            f"{type(trainer).__name__} finds no architecture while it trains, so "
            f"{type(callback).__name__} has none to take. Leave the callback out."
        )


class ArchitectureCheckpoint(Callback):
    """Writes the architecture of every epoch to ``<checkpoint_dir>/epoch_<N>.json``."""

    def __init__(self, checkpoint_dir: str | Path) -> None:
        self.folder = Path(checkpoint_dir)

    def build(self, trainer: Run) -> None:
        require_architecture(self, trainer)
        super().build(trainer)

    def on_epoch_end(self, epoch: int) -> None:
        if self.trainer.ranks.is_first:
            make_folder(self.folder)
            self.trainer.export(self.folder / f"epoch_{epoch}.json")


class ModelCheckpoint(Callback):
    """Writes the weights of every epoch to ``<checkpoint_dir>/epoch_<N>.pt``."""

    def __init__(self, checkpoint_dir: str | Path) -> None:
        self.folder = Path(checkpoint_dir)

    def on_epoch_end(self, epoch: int) -> None:
        if self.trainer.ranks.is_first:
            make_folder(self.folder)
            save_checkpoint(self.folder / f"epoch_{epoch}.pt", self.trainer.model.state_dict())
