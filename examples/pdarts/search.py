"""Searches a cell with P-DARTS, in stages of growing depth.

    python examples/pdarts/search.py --data cifar10 --out runs/pdarts

Three stages of 5, 11 and 17 cells, whose edges hold 8, 5 and 3 candidates; 25 epochs each, of which
the first 10 train the weights only. What it finds is retrained by

    python examples/darts/retrain.py --arc-checkpoint runs/pdarts/architecture.json

A search that was stopped continues with --resume, in whatever stage it was.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial
from typing import Any

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin.cli import guarded
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_composition_flags,
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    composed_stops,
    composed_supernet,
    load_images,
    run_search,
    sizes_of,
    staged_options,
)
from nas_plugin.trainers import ArchitectureCheckpoint, PdartsTrainer
from search_spaces.darts import darts


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=25, batch_size=96, learning_rate=0.025, weight_decay=3e-4)
    add_execution_flag(parser)
    add = parser.add_argument
    add("--add-layers", type=int, nargs="+", default=[0, 6, 12], help="cells beyond --layers")
    add("--drop", type=int, nargs="+", default=[3, 2, 2], help="candidates lost after each stage")
    add("--skip-dropout", type=float, nargs="+", default=[0.1, 0.4, 0.7],
        help="on skip connections, at the start of each stage")  # fmt: skip
    add("--max-skips", type=int, default=2, help="most skip connections allowed in the normal cell")
    add("--unrolled", action="store_true", help="second order")
    add_composition_flags(parser)
    add_size_flags(parser, darts, layers=5)
    parser.set_defaults(arch_learning_rate=6e-4)
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    sizes = sizes_of(darts, args, data.image, data.classes)

    loss = partial(nn.functional.cross_entropy, label_smoothing=args.label_smoothing)

    def made(layers: int) -> Any:
        model = composed_supernet(args, darts, data.image, **{**sizes, "layers": layers})
        optimizer = SGD(model.parameters(), args.learning_rate, 0.9, weight_decay=args.weight_decay)
        return model, loss, optimizer, CosineAnnealingLR(optimizer, args.epochs)

    options = staged_options(args, data, made(args.layers)[0])
    options["callbacks"] = [
        *composed_stops(args), ArchitectureCheckpoint(args.out / "checkpoints"),
        *options["callbacks"],
    ]  # fmt: skip
    trainer = PdartsTrainer(
        made, args.layers, pdarts_num_layers=args.add_layers, pdarts_num_to_drop=args.drop,
        skip_dropout=args.skip_dropout, max_skips=args.max_skips, unrolled=args.unrolled,
        **options,
    )  # fmt: skip
    run_search(trainer, args)


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
