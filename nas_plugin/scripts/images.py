"""Images of a script, and the trainer's options that follow from them and the flags."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD

from nas_plugin.data import load_data, restate, standard_augment
from nas_plugin.errors import OptionError
from nas_plugin.scripts.run import run_options
from nas_plugin.trainers import decay_groups


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
        """How many there are.

        Raises:
            OptionError: If the targets are no classes.
        """
        if self.train.num_classes is None:
            raise OptionError(
                f"{self.train.name} has floats as targets. This script trains classifiers; to "
                "predict numbers, give a trainer a loss of numbers (docs/data.md)."
            )
        return int(self.train.num_classes)


def load_images(args: argparse.Namespace) -> Images:
    """Returns the data set that the flags name."""
    options: dict[str, Any] = {"root": args.data_dir, "limit": args.limit, "seed": args.seed}
    if args.image_size is not None:
        options["size"] = args.image_size
    train = load_data(args.data, split="train", **options)
    restate(train, **image_settings(args))
    return Images(train, load_data(args.data, split="test", **options))


def image_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns what the flags say about normalising and augmenting; None is the data set's own."""
    return {name: getattr(args, name, None) for name in ("mean", "std", "crop", "flip")}


def trainer_options(
    args: argparse.Namespace,
    data: Images,
    model: nn.Module,
    phase: str,
    *,
    nesterov: bool = True,
    decay_all: bool = True,
    cutout: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Returns the arguments of a trainer of `model` that follow from flags and data.

    Args:
        args: The flags of `add_run_flags` and `add_size_flags`.
        data: Images to train and to measure.
        model: The network; its weights are stepped by SGD with momentum 0.9.
        phase: ``search`` or ``retrain``: what the log and checkpoints are called.
        nesterov: Which momentum.
        decay_all: Whether biases and batch norms decay too.
        cutout: Side of the square that is cut out of training images.
        **options: As `run_options` takes them.
    """
    optimizer = SGD(
        model.parameters() if decay_all else decay_groups(model, args.weight_decay),
        args.learning_rate,
        0.9,
        weight_decay=args.weight_decay,
        nesterov=nesterov,
    )
    return {
        **run_options(args, model, optimizer, phase, train=data.train, valid=data.test, **options),
        "augment": standard_augment(data.train, train=True, cutout=cutout, seed=args.seed),
        "eval_augment": standard_augment(data.train, train=False),
    }
