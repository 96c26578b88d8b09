"""A run of a script: the trainer's options that follow from its flags, and what a search writes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from nas_plugin.files import make_folder, write_json
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.trainers import Callback, LRSchedulerCallback, SearchTrainer, accuracy, finalize

#: Makes the schedule of an optimizer's learning rate.
MakeSchedule = Callable[[Optimizer], LRScheduler]


def run_options(
    args: argparse.Namespace,
    model: nn.Module,
    optimizer: Optimizer,
    phase: str,
    *,
    train: Any,
    valid: Any,
    schedule: MakeSchedule | None = None,
    callbacks: Sequence[Callback] = (),
    drawings: bool = False,
) -> dict[str, Any]:
    """Returns the arguments of a trainer of `model` that follow from the flags of `add_run_flags`.

    Args:
        args: The flags.
        model: The network.
        optimizer: Optimizer of its weights.
        phase: ``search`` or ``retrain``: what the log and checkpoints are called.
        train: What is trained on.
        valid: What is only measured.
        schedule: Schedule of the learning rate; a cosine to 0 if None.
        callbacks: After the schedule.
        drawings: Draw the architecture after every epoch.
    """
    make_schedule: MakeSchedule = schedule or partial(CosineAnnealingLR, T_max=args.epochs)
    # Only searches have the flag: what is retrained has no choice blocks.
    execution = {"execution": args.execution} if hasattr(args, "execution") else {}
    return {
        **execution,
        "model": model,
        "loss": partial(nn.functional.cross_entropy, label_smoothing=args.label_smoothing),
        "metrics": accuracy,
        "optimizer": optimizer,
        "num_epochs": args.epochs,
        "dataset_train": train,
        "dataset_valid": valid,
        "batch_size": args.batch_size,
        "accumulate": args.accumulate,
        "grad_clip": args.grad_clip,
        "seed": args.seed,
        "workers": args.workers,
        "device": args.device,
        "precision": args.precision,
        "channels_last": args.channels_last,
        "limit_batches": args.limit_batches,
        "log_frequency": args.log_frequency,
        "checkpoint_dir": args.out / "checkpoints" / phase,
        "checkpoint_every": args.checkpoint_every,
        "resume": args.resume,
        "rank_timeout": args.rank_timeout,
        "callbacks": [
            LRSchedulerCallback(make_schedule(optimizer)),
            *callbacks,
            *run_callbacks(args.out, phase, drawings=drawings),
        ],
    }


def run_search(trainer: SearchTrainer, args: argparse.Namespace) -> bool:
    """Writes the settings, trains, and exports the architecture, if the trainer finds one.

    Args:
        trainer: What `trainer_options` went into.
        args: The flags.

    Returns:
        Whether this process is the one that writes.
    """
    with trainer.checkpoints.held():
        # Before anything is written: what belongs to another run stays as it is.
        trainer.restore()
        if trainer.ranks.is_first:
            settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
            write_json(make_folder(args.out) / "settings.json", settings)
        trainer.train()
        path = args.out / "architecture.json"
        selection = getattr(args, "selection", None)
        if selection is not None:
            finalize(trainer, selection, path)  # on all ranks: it may train
        elif trainer.ranks.is_first and trainer.finds_architecture:
            trainer.export(path)
        if trainer.ranks.is_first and trainer.finds_architecture:
            print(f"found architecture: {path}")
    return trainer.ranks.is_first
