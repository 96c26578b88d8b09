"""Searches the NAS-Bench-201 space with any mutator, and looks the found cell up.

    python examples/nasbench201/search.py --mutator gdas --epochs 50 --out runs/gdas
    python examples/nasbench201/search.py --mutator darts --perturbation adversarial --partial 4
    python examples/nasbench201/search.py --mutator drnas --cost flops:40e6

It ends with the cell's string and, if the benchmark's table is on this machine, its true accuracies
and its rank among all 15,625. Under --out come architecture.json, search.jsonl, checkpoints and
TensorBoard events; --resume continues a search that was stopped.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.cli import guarded
from nas_plugin.data import load_data
from nas_plugin.errors import BenchmarkError, OptionError
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_composition_flags,
    add_execution_flag,
    add_order_flag,
    add_run_flags,
    add_size_flags,
    composed_options,
    composed_stops,
    composed_supernet,
    costs_of,
    load_images,
    refuse_parts,
    run_search,
    sizes_of,
    trainer_options,
)
from nas_plugin.space.encodings import nasbench201 as encoding
from nas_plugin.space.fix import read_architecture
from nas_plugin.trainers import (
    BilevelTrainer,
    EnasTrainer,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SearchTrainer,
    SingleLevelTrainer,
    fitting,
    reward_accuracy,
)
from search_spaces.nasbench201 import nasbench201


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=50, batch_size=64, learning_rate=0.025, weight_decay=5e-4)
    add_execution_flag(parser)
    add = parser.add_argument
    add("--train-size", type=int, help="training images (default: all, or --limit)")
    add("--single-level", action="store_true", help="weights and logits step together")
    add_order_flag(parser)
    add(
        "--samples",
        type=int,
        default=100,
        help="paths to rank if paths are sampled; the best is returned",
    )
    add_composition_flags(parser, mutator="gdas", needs=())  # each gets the trainer it needs
    add_size_flags(parser, nasbench201, affine=False)
    add("--cells-per-stage", type=int, dest="cells", default=5, help="the same as --cells")
    return parser.parse_args(argv)


def make_trainer(args: argparse.Namespace, model: Any, image: Any, options: Any) -> SearchTrainer:
    """Returns the trainer that the mutator needs."""
    common = dict(options)
    orders = {"--single-level": args.single_level, "--unrolled": args.unrolled}
    given = [flag for flag, value in orders.items() if value]
    if len(given) == 2:
        raise OptionError("--single-level and --unrolled exclude each other: leave one out.")
    bilevel = [name for name in fitting(BilevelTrainer.needs) if name != "proxyless"]
    if given and args.mutator not in bilevel:
        raise OptionError(
            f"{given[0]} cannot be combined with --mutator {args.mutator}; it can with "
            f"{', '.join(bilevel)}."
        )
    if args.mutator == "enas":
        refuse_parts(args, "--cost", "--arch-learning-rate")
        if args.arch_learning_rate is not None:
            common["arch_learning_rate"] = args.arch_learning_rate
        return EnasTrainer(
            **common, reward_function=reward_accuracy, costs=costs_of(args, model, image),
            samples=args.samples,
        )  # fmt: skip
    if args.mutator in ("random", "spos", "fairnas"):
        refuse_parts(args)
        return RandomNasTrainer(**common, mutator=args.mutator, samples=args.samples)
    parts = {**common, **composed_options(args, model, image)}
    if args.mutator == "proxyless":
        return ProxylessNasTrainer(**parts)
    if args.single_level:
        return SingleLevelTrainer(**parts)
    return BilevelTrainer(**parts, unrolled=args.unrolled)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    if args.train_size is not None:
        train = load_data(args.data, root=args.data_dir, limit=args.train_size, seed=args.seed)
        data = replace(data, train=train)
    sizes = sizes_of(nasbench201, args, data.image, data.classes)
    model = composed_supernet(args, nasbench201, data.image, **sizes)
    cosine = partial(CosineAnnealingLR, T_max=args.epochs, eta_min=args.learning_rate / 25)
    options = trainer_options(
        args, data, model, "search", nesterov=not args.unrolled, schedule=cosine,
        callbacks=composed_stops(args),
    )  # fmt: skip
    trainer = make_trainer(args, model, data.image, options)
    if run_search(trainer, args):
        for line in report(read_architecture(args.out / "architecture.json")):
            print(line)


def report(architecture: Mapping[str, Any]) -> list[str]:
    """Returns the cell's string and what the benchmark says of it, if its table is there."""
    lines = [f"architecture {encoding.to_string(architecture)}"]
    try:
        table = open_benchmark("nasbench201")
    except BenchmarkError as error:
        return [*lines, f"no true accuracies: {error}"]
    for dataset in ("cifar10", "cifar100", "imagenet16_120"):
        column = table.column(dataset=dataset, epochs=200, split="test")
        value = table.query(architecture, dataset=dataset, epochs=200, split="test")
        rank = int((column > value).sum()) + 1
        lines.append(
            f"{dataset}: test accuracy {value:.2f} %, rank {rank:,} of {len(table):,} "
            f"(best {float(column.max()):.2f} %, {table.name})"
        )
    return lines


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
