"""The loop that every trainer shares: epochs, validation, records, checkpoints, resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.keys import unwrap
from nas_plugin.data import Loader
from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.parameters import Spelled
from nas_plugin.runtime import (
    Interrupted,
    InterruptGuard,
    Layout,
    Precision,
    Ranks,
    fingerprint,
    frozen_garbage,
    fuse,
    pick_device,
    random_state,
    set_random_state,
)
from nas_plugin.trainers.callbacks import Callback
from nas_plugin.trainers.checkpoints import Checkpoints, warn_of_changes
from nas_plugin.trainers.gradients import Gradients
from nas_plugin.trainers.listeners import Listeners
from nas_plugin.trainers.loaders import Loaders
from nas_plugin.trainers.meters import Meters, check_finite
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.nni_names import NNI_NAMES
from nas_plugin.trainers.objective import Loss, Objective, Values
from nas_plugin.trainers.options import (
    ModelLike,
    OptimizerLike,
    check_counts,
    check_parts,
    check_seconds,
    check_step,
    made_model,
    made_optimizer,
)
from nas_plugin.trainers.preflight import Preflight

_log = logging.getLogger(__name__)


class Trainer(metaclass=Spelled):
    """Trains a model in epochs of steps, so that it can be stopped and resumed at any step.

    A subclass gives `steps_per_epoch`, `batches` and `train_step`.

    Args:
        model: The network, or a function that makes it; wrappers such as DDP are removed.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: What is trained on: a data set, or a loader of batches.
        dataset_valid: The held-out set, which nothing is trained on.
        valid_loss: The loss of held-out batches, the logits' among them; None: `loss`, but without
            its label smoothing, which is a regularizer of the weights.
        batch_size: Samples a process and step.
        seed: Order of the samples, split and augmentation follow from it.
        workers: Processes that load data that is not resident.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<n>``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        channels_last: Lay images out with channels last, if the model allows it (see
            `nas_plugin.runtime.Layout`); None if that is faster. Values are the same.
        grad_clip: Largest norm of the weight gradient; None does not clip.
        accumulate: Parts that a batch is computed in, to save memory; their losses are averaged by
            samples, also where a loss weighs classes or leaves some out.
        augment: Applied to training batches; ``auto`` is what the training set says of itself
            (`standard_augment`), None leaves them as they are.
        eval_augment: Applied to held-out batches; ``auto`` normalises them as the training set.
        limit_batches: Fewer steps an epoch, and batches a validation, for a quick look.
        log_frequency: Steps between two records of single steps; None records epochs only.
        callbacks: What happens beside training, in this order.
        progress: Show a bar on a terminal and print a line per epoch, unless `callbacks` hold a
            `ProgressCallback` of their own.
        checkpoint_dir: Where the state is kept; None keeps none.
        checkpoint_every: Steps between two checkpoints, beside one an epoch.
        resume: Go on from the newest checkpoint in `checkpoint_dir`.
        rank_timeout: Seconds without a sign of a rank after which the others end, under torchrun;
            None measures: 10 times the slowest step, at least 60.

    Attributes:
        checkpoints: The folder of the state; another run cannot use it at the same time.
        epoch: The epoch that runs or comes next.
        batch: Steps done in it.
        step: Steps done in all.
        objective: One forward pass: the output, its loss and metrics.
        gradients: What a step's gradients come from, on any batch.
        loaders: Makes the loaders of the training set's parts.
        given: What the last step was given, for callbacks.
        stopped: Why training ended before its last epoch; None if it did not.

    Raises:
        OptionError: If an argument is not allowed, or nothing can be written to `checkpoint_dir`.
        LockedError: If another run uses `checkpoint_dir`.
    """

    argument_aliases = NNI_NAMES
    #: Whether `export` has an architecture to give.
    finds_architecture: bool = False

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
        valid_loss: Loss | None = None,
        batch_size: int = 64,
        seed: int = 0,
        workers: int = 0,
        device: str | torch.device = "auto",
        precision: str = "fp32",
        channels_last: bool | None = None,
        grad_clip: float | None = None,
        accumulate: int = 1,
        augment: Any = "auto",
        eval_augment: Any = "auto",
        limit_batches: int | None = None,
        log_frequency: int | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        checkpoint_dir: str | Path | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        rank_timeout: float | None = None,
    ) -> None:
        check_counts(
            num_epochs=num_epochs, batch_size=batch_size, accumulate=accumulate,
            limit_batches=limit_batches, log_frequency=log_frequency,
            checkpoint_every=checkpoint_every,
        )  # fmt: skip
        check_step(batch_size, accumulate, grad_clip)
        check_seconds(rank_timeout=rank_timeout)
        self.device = pick_device(device)
        self.ranks = Ranks(self.device)
        check_parts(loss, accumulate * self.ranks.world_size)
        self.ranks.set_timeout(rank_timeout)
        self.precision = Precision(precision, self.device)
        self.model = unwrap(made_model(model)).to(self.device)
        self.layout = Layout(channels_last)
        self.optimizer = made_optimizer(optimizer, self.model)
        fuse(self.optimizer)
        self.weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.objective = Objective(
            self.model, loss, metrics, self.precision, self.layout, valid_loss=valid_loss,
            preflight=Preflight(dataset_train, dataset_valid),
        )  # fmt: skip
        self.gradients = Gradients(
            self.objective, self.weights, self.precision, self.ranks, accumulate=accumulate
        )
        self.num_epochs = num_epochs
        self.grad_clip = grad_clip
        self.log_frequency = log_frequency
        self.callbacks = list(callbacks)
        self._tell = Listeners(self.callbacks, progress=progress)
        self.checkpoints = Checkpoints(
            checkpoint_dir, self.ranks, every=checkpoint_every, resume=resume
        )
        self._is_restored = False
        self._rates = [float(g.get("initial_lr", g["lr"])) for g in self.optimizer.param_groups]
        self.loaders = Loaders(
            dataset_train, dataset_valid, self.ranks, augment=augment, eval_augment=eval_augment,
            batch_size=batch_size, seed=seed, device=self.device, workers=workers,
            limit_batches=limit_batches,
        )  # fmt: skip
        self.seed = seed
        self.dataset_train = dataset_train
        self.valid_loader = self.loaders.held_out(dataset_valid)
        if len(self.valid_loader) == 0:
            raise OptionError("dataset_valid is empty. Give the data that nothing is trained on.")
        self.epoch = self.batch = self.step = 0
        self.given: Any = None
        self.stopped: str | None = None
        self._meters = Meters()
        self._elapsed = 0.0
        self._started = time.monotonic()
        self.ranks.start_alike(self.model)

    # What a subclass gives.

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch."""
        raise NotImplementedError(f"{type(self).__name__} must say how long an epoch is")

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """Yields what `train_step` takes, from step `start` of `epoch` on."""
        raise NotImplementedError(f"{type(self).__name__} must say what it trains on")

    def train_step(self, batch: Any) -> Values:
        """Does one step and returns its loss and metrics."""
        raise NotImplementedError(f"{type(self).__name__} must say what a step is")

    def start_epoch(self, epoch: int) -> None:
        """Sets schedules that follow from the epoch; runs again after a resume inside it."""

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that changes during training."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "layout": self.layout.state_dict(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "meters": self._meters.state_dict(),
            "position": [self.epoch, self.batch, self.step],
            "stopped": self.stopped,
            "elapsed": self.elapsed,
            "random": random_state(),
            "settings": self.settings(),
        }

    def settings(self) -> dict[str, Any]:
        """Returns what a resumed run must share with the one that was saved."""
        return {
            **fingerprint(),
            "seed": self.seed,
            "samples a step": self.loaders.samples_per_step,
            "steps an epoch": self.steps_per_epoch,
            "epochs": self.num_epochs,
            "precision": self.precision.name,
            "learning rates": self._rates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            CheckpointError: If it belongs to another run.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.precision.load_state_dict(state["precision"])
            self.layout.load_state_dict(self.model, state["layout"])
            for callback, saved in zip(self.callbacks, state["callbacks"], strict=True):
                callback.load_state_dict(saved)
            self._meters.load_state_dict(state["meters"], self.ranks.rank, self.ranks.world_size)
            self.epoch, self.batch, self.step = state["position"]
            self.stopped = state["stopped"]
            self._elapsed = state["elapsed"]
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                "The checkpoint does not belong to this run: resume with the model, optimizer and "
                f"callbacks that it was started with. ({error})"
            ) from error
        self._started = time.monotonic()
        set_random_state(state["random"])
        warn_of_changes(state["settings"], self.settings())

    @property
    def elapsed(self) -> float:
        """Seconds of training, earlier parts of a resumed run included."""
        return self._elapsed + time.monotonic() - self._started

    def train(self) -> None:
        """Trains to the last epoch.

        Raises:
            Interrupted: After SIGTERM (code 143), SIGHUP (129) or Ctrl-C (130); the state is
                saved.
            LockedError: If another run uses the folder.
            TrainingError: If the loss is not finite; the last checkpoint stays. Or if model, loss
                and the first batch do not fit, before anything steps.
            DataError: If targets are no classes of the model, likewise.
        """
        with self.checkpoints.held():
            self.restore()
            self._is_restored = False
            try:
                with InterruptGuard() as guard, frozen_garbage():
                    self._tell("on_train_begin")
                    while self.epoch < self.num_epochs and self.stopped is None:
                        self._train_epoch(guard)
            except BaseException:
                self._tell.close()
                raise
            self._tell("on_train_end")

    def restore(self) -> None:
        """Reads the checkpoint that a resumed run continues from; `train` does it if nobody has.

        Until then nothing was written: a folder of another run is refused as it was.

        Raises:
            CheckpointError: If it belongs to another run.
        """
        if self._is_restored:
            return
        self._tell("build", self)
        found = self.checkpoints.latest()
        if found is not None:
            self.load_state_dict(found)
        self._is_restored = True

    def stop(self, reason: str) -> None:
        """Ends training after the epoch that runs; a resumed run does not continue either."""
        self.stopped = reason
        _log.info("stops after epoch %d: %s", self.epoch + 1, reason)

    def validate(self) -> dict[str, float]:
        """Returns loss and metrics on the held-out set."""
        return self.measured(self.valid_loader)

    def measured(self, loader: Loader) -> dict[str, float]:
        """Returns loss and metrics on the batches of a loader, in evaluation mode."""
        return self.objective.measured(loader)

    def step_weights(self, params: Sequence[nn.Parameter], grads: Sequence[Tensor | None]) -> None:
        """Steps the weights; ranks then share the batch statistics of the first."""
        self.gradients.step(self.optimizer, params, grads, self.grad_clip)
        if self.ranks.world_size > 1:
            self.ranks.copy_from_first(list(self.model.buffers()))

    @property
    def inputs_as(self) -> str:
        """What happens to inputs before the model sees them, in words."""
        return self.loaders.inputs_as

    def export(self, path: str | Path | None = None) -> Any:
        """Writes and returns what was found, where the trainer searches."""
        raise OptionError(f"{type(self).__name__} does not search, so it exports no architecture.")

    def record(self, phase: str, values: Mapping[str, Any]) -> None:
        """Gives a log record to the callbacks of the first rank."""
        if self.ranks.is_first:
            position = {"step": self.step, "epoch": self.epoch, "phase": phase}
            record = {**position, "time": round(self.elapsed, 3), **values}
            self._tell("on_record", record)

    def save(self) -> None:
        """Writes a checkpoint."""
        if self.checkpoints.folder is not None:
            meters = self._meters.state_dict(self.ranks)
            if self.ranks.is_first:
                self.checkpoints.save({**self.state_dict(), "meters": meters}, self.step)
        self.ranks.barrier()

    def _train_epoch(self, guard: InterruptGuard) -> None:
        self.model.train()
        self.start_epoch(self.epoch)
        self._tell("on_epoch_begin", self.epoch)
        for batch in self.batches(self.epoch, self.batch):
            self.given = batch
            began = time.monotonic()
            values = self.train_step(batch)
            self.batch += 1
            self.step += 1
            self.ranks.note_step(self.step, time.monotonic() - began)
            self._meters.add(values)
            if self._is_due(self.log_frequency) or self.device.type == "cpu":
                check_finite(values, self.step, self.epoch)
            if self._is_due(self.log_frequency):
                self.record("train", self.ranks.means(values))
            self._tell("on_batch_end")
            if self.checkpoints.is_due(self.step):
                self.save()
            self._stop_if_asked(guard)
        self._end_epoch()
        self._stop_if_asked(guard)

    def _end_epoch(self) -> None:
        trained = self.ranks.means(self._meters.means())
        check_finite(trained, self.step, self.epoch)
        held_out = self.validate()
        self.record("epoch", {**trained, **{f"valid_{k}": v for k, v in held_out.items()}})
        self.end_epoch()
        self._tell("on_epoch_end", self.epoch)
        self.epoch, self.batch, self._meters = self.epoch + 1, 0, Meters()
        self.save()

    def end_epoch(self) -> None:
        """Called after validation, before the callbacks: for records of a subclass."""

    def _stop_if_asked(self, guard: InterruptGuard) -> None:
        code = self.ranks.any(guard.code)
        if code:
            self.save()
            _log.warning("stopped by a signal at step %d; resume continues from here", self.step)
            raise Interrupted(code)

    def _is_due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0
