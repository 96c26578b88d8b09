"""Retraining of a found architecture on images, whatever the space."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any

import torch

from nas_plugin.data import standard_augment
from nas_plugin.profiling import count_flops, count_params
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts.flags import sizes_of
from nas_plugin.scripts.images import load_images, trainer_options
from nas_plugin.scripts.run import MakeSchedule
from nas_plugin.scripts.supernet import held_out
from nas_plugin.space.fix import apply_fixed_architecture
from nas_plugin.trainers import BestEpoch, RetrainTrainer


def add_retrain_flags(
    parser: argparse.ArgumentParser, builder: Callable[..., Any], *, cutout: int = 0
) -> None:
    """Adds the flags that only retraining has.

    Args:
        parser: Gets the flags.
        builder: Makes the supernet.
        cutout: The default for images of 32 pixels and more; smaller ones would be hidden.
    """
    add = parser.add_argument
    add("--arc-checkpoint", "--arc_checkpoint", default="architecture.json",
        help="architecture file")  # fmt: skip
    parser.set_defaults(default_cutout=cutout)
    add("--cutout", type=int, help="side of the square that is cut out of training images "
        f"(default {cutout}, and 0 for images below 32 pixels)")  # fmt: skip
    add("--valid-fraction", type=float, default=0.1,
        help="share of the training images that chooses the epoch")  # fmt: skip
    if _has_auxiliary(builder):
        add("--aux-weight", type=float, default=0.4, help="weight of the auxiliary head's loss")


def retrain(
    args: argparse.Namespace,
    builder: Callable[..., Any],
    schedule: MakeSchedule | None = None,
    *,
    nesterov: bool = True,
    decay_all: bool = True,
    **options: Any,
) -> None:
    """Trains the architecture from scratch; prints test accuracy, parameters and FLOPs.

    A part of the training images chooses the epoch whose weights are kept; the test images are
    measured once, with these.

    Args:
        args: The flags of `add_run_flags`, `add_size_flags` and `add_retrain_flags`.
        builder: Makes the supernet.
        schedule: As `run_options` takes it.
        nesterov: As `trainer_options` takes it.
        decay_all: As `trainer_options` takes it.
        **options: As `RetrainTrainer` takes them.
    """
    seed_everything(args.seed)
    data = load_images(args)
    sizes = sizes_of(builder, args, data.image, data.classes)
    aux_weight = args.aux_weight if _has_auxiliary(builder) else 0.0
    if _has_auxiliary(builder):
        sizes["auxiliary"] = aux_weight > 0
    model = apply_fixed_architecture(builder(**sizes), args.arc_checkpoint)
    params = count_params(model)
    if aux_weight > 0:
        # The auxiliary head only helps to train, so papers do not count it.
        params -= count_params(model.get_submodule("auxiliary"))
    flops = count_flops(model, torch.zeros(1, *data.image.shape))
    cutout = args.cutout
    if cutout is None:
        cutout = args.default_cutout if data.image.shape[-1] >= 32 else 0
    best = BestEpoch(
        data.test, augment=standard_augment(data.train, train=False), path=args.out / "model.pt"
    )
    common = trainer_options(
        args, held_out(data, args.valid_fraction, args.seed), model, "retrain",
        schedule=schedule, nesterov=nesterov, decay_all=decay_all, cutout=cutout, callbacks=[best],
    )  # fmt: skip
    trainer = RetrainTrainer(**common, aux_weight=aux_weight, **options)
    trainer.train()
    if trainer.ranks.is_first:
        print(
            f"{chosen(best)}, parameters {params:,}, "
            f"FLOPs {flops / 1e6:,.1f} M ({flops / 2e6:,.1f} M MACs)"
        )


def chosen(best: BestEpoch) -> str:
    """Returns what the chosen epoch reached, as scripts print it."""
    return (
        f"test accuracy {100 * best.test['accuracy']:.2f} % with the weights of epoch "
        f"{best.epoch + 1}, the best in validation ({100 * best.valid:.2f} %)"
    )


def _has_auxiliary(builder: Callable[..., Any]) -> bool:
    return "auxiliary" in inspect.signature(builder).parameters
