"""A search of logits that is composed by flags: mutator, perturbation, partial channels, costs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from nas_plugin.errors import OptionError
from nas_plugin.mutators import mutators
from nas_plugin.mutators.mutator import MIXES, REPEATABLE
from nas_plugin.operations import add_auxiliary_skips
from nas_plugin.profiling import flops_table, latency_table, params_table
from nas_plugin.space.cost_table import CostTable
from nas_plugin.space.narrow import Builder, narrowed
from nas_plugin.trainers import (
    AuxiliarySkip,
    Callback,
    ExpectedCost,
    Regularizer,
    fitting,
    perturbations,
    selections,
    stops,
)

#: What a cost counts → how its table is made of a supernet and an input.
TABLES: dict[str, Callable[..., CostTable]] = {
    "flops": flops_table,
    "latency": latency_table,
    "params": params_table,
}


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
    add("--mutator", default=mutator, help=f"one of {', '.join(fitting(needs))}")
    add("--perturbation", metavar="NAME", help=f"one of {', '.join(perturbations.names())}")
    add("--partial", type=int, metavar="K",
        help="candidates see one in K channels (default: 4 for pc_darts, else all)")  # fmt: skip
    add("--edge-normalisation", action="store_true",
        help="give input choices that follow edges logits of their own")  # fmt: skip
    add("--auxiliary-skip", action="store_true",
        help="an auxiliary skip beside all candidates, fading to 0 (DARTS-)")  # fmt: skip
    add("--cost", action="append", default=[], metavar="KIND:TARGET",
        help=f"stay below a target; KIND is one of {', '.join(sorted(TABLES))} (FLOPs, "
        "milliseconds here, parameters); may be given several times")  # fmt: skip
    add("--cost-weight", type=float, default=1.0, help="factor of each cost's excess")
    add("--stop", action="append", default=[], metavar="NAME",
        help=f"end before the search collapses, by one of {', '.join(stops.names())}; may be "
        "given several times")  # fmt: skip
    add("--selection", metavar="NAME",
        help="what the search stands for at its end, by one of "
        f"{', '.join(selections.names())} (default: strength)")  # fmt: skip
    add("--arch-learning-rate", type=float, help="of the logits (default: the method's own)")
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
    if args.auxiliary_skip:
        add_auxiliary_skips(model, torch.zeros(1, *image.shape))
    return model


def composed_options(
    args: argparse.Namespace, model: nn.Module, image: torch.Tensor
) -> dict[str, Any]:
    """Returns the arguments of an `ArchTrainer` that follow from `add_composition_flags`."""
    regularizers: list[Regularizer] = list(costs_of(args, model, image))
    if args.auxiliary_skip:
        regularizers.append(AuxiliarySkip())
    return {
        "mutator": args.mutator,
        "perturbation": args.perturbation,
        "edge_normalisation": args.edge_normalisation,
        "regularizers": regularizers,
        "arch_learning_rate": args.arch_learning_rate,
        "warmup_epochs": args.warmup_epochs,
    }


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
        if kind not in TABLES or not value > 0:
            raise OptionError(
                f"--cost is KIND:TARGET with a positive number and one of "
                f"{', '.join(sorted(TABLES))}, for example flops:40e6; got '{spelled}'."
            )
        table = TABLES[kind](model, torch.zeros(1, *image.shape))
        costs.append(ExpectedCost(table, target=value, weight=args.cost_weight))
    return costs


def refuse_parts(args: argparse.Namespace, *allowed: str) -> None:
    """Raises OptionError if parts are given that the mutator's trainer has no place for."""
    given = {
        "--perturbation": args.perturbation,
        "--edge-normalisation": args.edge_normalisation,
        "--auxiliary-skip": args.auxiliary_skip,
        "--cost": args.cost,
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
