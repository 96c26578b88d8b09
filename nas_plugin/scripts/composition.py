"""A search of logits that is composed by flags: mutator, perturbation, partial channels, costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from nas_plugin.errors import OptionError
from nas_plugin.mutators import mutators
from nas_plugin.mutators.mutator import MIXES, REPEATABLE
from nas_plugin.scripts.images import Images, trainer_options
from nas_plugin.space.narrow import Builder, narrowed
from nas_plugin.trainers import (
    Callback,
    ExpectedCost,
    LRSchedulerCallback,
    Regularizer,
    fitting,
    named_regularizer,
    perturbations,
    regularizers,
    selections,
    stops,
)


def add_composition_flags(
    parser: argparse.ArgumentParser, *, mutator: str = "darts", needs: Iterable[str] = (MIXES,)
) -> None:
    """Adds the flags of the parts that a search of logits is composed of.

    Args:
        parser: The script's.
        mutator: The default.
        needs: What the script's trainer needs (`Trainer.needs`); only mutators that give it are
            offered. Nothing if the script picks the trainer by the mutator.
    """
    parts = parser.add_argument_group("parts of the search")
    add = parts.add_argument
    add("--mutator", default=mutator,
        help=f"one of {', '.join(fitting(needs))} (default: {mutator})")  # fmt: skip
    add("--perturbation", metavar="NAME", help=f"one of {', '.join(perturbations.names())}")
    add("--partial", type=int, metavar="K",
        help="candidates see one in K channels (default: 4 for pc_darts, else all)")  # fmt: skip
    add("--edge-normalisation", action="store_true",
        help="give input choices that follow edges logits of their own")  # fmt: skip
    add("--auxiliary-skip", action="store_true",
        help="an auxiliary skip beside all candidates, fading to 0 (DARTS-)")  # fmt: skip
    add("--cost", action="append", default=[], metavar="KIND:TARGET",
        help=f"stay below a target; KIND is one of {', '.join(_costs())} (FLOPs, "
        "milliseconds here, parameters); may be given several times")  # fmt: skip
    add("--regularizer", action="append", default=[], metavar="NAME[:OPTION=VALUE,...]",
        help=f"one of {', '.join(regularizers)}; may be given several times")  # fmt: skip
    add("--cost-weight", type=float, default=1.0, help="factor of each cost's excess")
    add("--stop", action="append", default=[], metavar="NAME",
        help=f"end before the search collapses, by one of {', '.join(stops.names())}; may be "
        "given several times")  # fmt: skip
    add("--selection", metavar="NAME",
        help="what the search stands for at its end, by one of "
        f"{', '.join(selections.names())} (default: strength)")  # fmt: skip
    add(
        "--arch-learning-rate",
        type=float,
        help="learning rate of the logits (default: the method's own)",
    )
    add("--warmup-epochs", type=int,
        help="epochs that train weights only (default: the method's own)")  # fmt: skip


def add_order_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the second order, for which not every mutator that mixes is fit."""
    able = ", ".join(fitting({MIXES, REPEATABLE}))
    parser.add_argument("--unrolled", action="store_true",
                        help=f"second order, for --mutator {able}")  # fmt: skip


def composed_supernet(
    args: argparse.Namespace, builder: Builder, image: torch.Tensor, **sizes: Any
) -> nn.Module:
    """Returns the supernet as mutator and flags want it.

    Args:
        args: The flags of `add_composition_flags`.
        builder: As a search space has one.
        image: A sample, ``(C, H, W)``.
        **sizes: As the builder takes them.

    Raises:
        SpaceError: If the space cannot be built that way.
    """
    if args.partial is None:
        builder = mutators.get(args.mutator).transform(builder)
    else:
        builder = narrowed(builder, args.partial)
    model = builder(**sizes)
    for found, _ in _named(args):
        found.prepare(model, torch.zeros(1, *image.shape))
    return model


def composed_options(
    args: argparse.Namespace, model: nn.Module, image: torch.Tensor
) -> dict[str, Any]:
    """Returns the arguments of an `ArchTrainer` that follow from `add_composition_flags`."""
    sample = torch.zeros(1, *image.shape)
    parts: list[Regularizer] = list(costs_of(args, model, image))
    parts += [found.made_for(model, sample, **given) for found, given in _named(args)]
    return {
        "mutator": args.mutator,
        "perturbation": args.perturbation,
        "edge_normalisation": args.edge_normalisation,
        "regularizers": parts,
        "arch_learning_rate": args.arch_learning_rate,
        "warmup_epochs": args.warmup_epochs,
    }


def staged_options(args: argparse.Namespace, data: Images, model: nn.Module) -> dict[str, Any]:
    """Returns the arguments of a trainer in stages that follow from the flags.

    Network, loss, optimizer and schedule are those of a stage, so they are not among them.

    Args:
        args: The flags of `add_run_flags` and `add_composition_flags`.
        data: Images to train and to measure.
        model: A network like that of the first stage.
    """
    common = trainer_options(args, data, model, "search", nesterov=False, drawings=True)
    callbacks = [c for c in common["callbacks"] if not isinstance(c, LRSchedulerCallback)]
    options = {**common, **composed_options(args, model, data.image), "callbacks": callbacks}
    return {k: v for k, v in options.items() if k not in ("model", "loss", "optimizer")}


def composed_stops(args: argparse.Namespace) -> list[Callback]:
    """Returns the stops that the flags name; they come before callbacks that write files."""
    return [stops.get(name)() for name in args.stop]


def costs_of(args: argparse.Namespace, model: nn.Module, image: torch.Tensor) -> list[ExpectedCost]:
    """Returns the costs that the flags name, with tables of this very supernet.

    Raises:
        OptionError: If a cost is spelled in another way.
    """
    costs = []
    for spelled in args.cost:
        kind, _, target = spelled.partition(":")
        try:
            value = float(target)
        except ValueError:
            value = 0.0
        if kind not in _costs() or not value > 0:
            raise OptionError(
                f"--cost is KIND:TARGET with a positive number and one of {', '.join(_costs())}, "
                f"for example flops:40e6; got '{spelled}'."
            )
        made = regularizers.get(kind).made_for(
            model, torch.zeros(1, *image.shape), target=value, weight=args.cost_weight
        )
        costs += [made] if isinstance(made, ExpectedCost) else []
    return costs


def _costs() -> list[str]:
    """Returns the names of regularizers that take a target."""
    return [name for name in regularizers if issubclass(regularizers.get(name), ExpectedCost)]


def _named(args: argparse.Namespace) -> list[tuple[type[Regularizer], dict[str, Any]]]:
    """Returns the regularizers that the flags name beside costs, and their options."""
    names = [*args.regularizer, *(["auxiliary_skip"] if args.auxiliary_skip else [])]
    return [named_regularizer(name) for name in names]


def refuse_parts(args: argparse.Namespace, *allowed: str) -> None:
    """Raises OptionError if parts are given that the mutator's trainer has no place for."""
    given = {
        "--perturbation": args.perturbation,
        "--edge-normalisation": args.edge_normalisation,
        "--auxiliary-skip": args.auxiliary_skip,
        "--cost": args.cost,
        "--regularizer": args.regularizer,
        "--stop": args.stop,
        "--selection": args.selection,
        "--arch-learning-rate": args.arch_learning_rate,
        "--warmup-epochs": args.warmup_epochs,
    }
    misfits = [flag for flag, value in given.items() if value and flag not in allowed]
    if misfits:
        able = [n for n in mutators if mutators.get(n).mixes != "none"]
        raise OptionError(
            f"{', '.join(misfits)} cannot be combined with --mutator {args.mutator}, which samples "
            f"paths. Mutators that mix: {', '.join(able)}."
        )
