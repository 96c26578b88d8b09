"""A search on images: its data, the trainer's options, and what is written at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from nas_plugin.data import load_data, standard_augment
from nas_plugin.files import write_json
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.trainers import Callback, LRSchedulerCallback, SearchTrainer, accuracy

#: Makes the schedule of an optimizer's learning rate.
Schedule = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True)
class Images:
    """The parts of a data set of images.

    Args:
        train: What is trained on.
        test: What is only measured.
    """

    train: Any
    test: Any

    @property
    def image(self) -> Any:
        """A sample, ``(C, H, W)``."""
        return self.train[0][0]

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.train.num_classes)


def load_images(args: argparse.Namespace) -> Images:
    """Returns the data set that the flags name."""
    options = {"root": args.data_dir, "limit": args.limit, "seed": args.seed}
    train = load_data(args.data, split="train", **options)
    return Images(train, load_data(args.data, split="test", **options))


def trainer_options(
    args: argparse.Namespace,
    data: Images,
    model: nn.Module,
    phase: str,
    *,
    schedule: Schedule | None = None,
    callbacks: Sequence[Callback] = (),
    cutout: int = 0,
) -> dict[str, Any]:
    """Returns the arguments of a trainer of `model` that follow from the flags.

    Weights are stepped by SGD with Nesterov's momentum.

    Args:
        args: The flags of `add_run_flags`.
        data: Images to train and to measure.
        model: The network.
        phase: ``search`` or ``retrain``: what the log and checkpoints are called.
        schedule: Of the learning rate; a cosine to 0 if None.
        callbacks: After the schedule.
        cutout: Side of the square that is cut out of training images.
    """
    optimizer: Optimizer = SGD(
        model.parameters(), args.learning_rate, 0.9, weight_decay=args.weight_decay, nesterov=True
    )
    make_schedule: Schedule = schedule or partial(CosineAnnealingLR, T_max=args.epochs)
    return {
        "model": model,
        "loss": partial(nn.functional.cross_entropy, label_smoothing=args.label_smoothing),
        "metrics": accuracy,
        "optimizer": optimizer,
        "num_epochs": args.epochs,
        "dataset_train": data.train,
        "dataset_valid": data.test,
        "batch_size": args.batch_size,
        "accumulate": args.accumulate,
        "grad_clip": args.grad_clip,
        "augment": standard_augment(data.train, train=True, cutout=cutout, seed=args.seed),
        "eval_augment": standard_augment(data.test, train=False),
        "seed": args.seed,
        "workers": args.workers,
        "device": args.device,
        "precision": args.precision,
        "limit_batches": args.limit_batches,
        "log_frequency": args.log_frequency,
        "checkpoint_dir": args.out / "checkpoints" / phase,
        "checkpoint_every": args.checkpoint_every,
        "resume": args.resume,
        "callbacks": [
            LRSchedulerCallback(make_schedule(optimizer)),
            *callbacks,
            *run_callbacks(args.out, phase),
        ],
    }


def run_search(trainer: SearchTrainer, args: argparse.Namespace, *, export: bool = True) -> bool:
    """Writes the settings, trains, and exports the architecture.

    Args:
        trainer: What `trainer_options` went into.
        args: The flags.
        export: Write ``architecture.json``; False where a second stage finds it.

    Returns:
        Whether this process is the one that writes.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    if trainer.ranks.is_first:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
        write_json(args.out / "settings.json", settings)
    trainer.train()
    if trainer.ranks.is_first and export:
        trainer.export(args.out / "architecture.json")
        print(f"found architecture: {args.out / 'architecture.json'}")
    return trainer.ranks.is_first
