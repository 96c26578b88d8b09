"""Searches a cell with PC-DARTS.

    python examples/pc_darts/search.py --data cifar10 --epochs 50 --out runs/pc_darts

The script of DARTS with the paper's settings: candidates see one in 4 channels, edges have logits,
the first 15 of 50 epochs train the weights only, batch 256, learning rate 0.1 falling to 0. What it
finds is retrained by examples/darts/retrain.py --arc-checkpoint runs/pc_darts/architecture.json.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial

from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin.cli import guarded
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_composition_flags,
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    composed_options,
    composed_stops,
    composed_supernet,
    load_images,
    run_search,
    sizes_of,
    trainer_options,
)
from nas_plugin.trainers import ArchitectureCheckpoint, DartsTrainer
from search_spaces.darts import darts


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=50, batch_size=256, learning_rate=0.1, weight_decay=3e-4)
    add_execution_flag(parser)
    add_composition_flags(parser, mutator="pc_darts", needs=DartsTrainer.needs)
    add_size_flags(parser, darts)
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    sizes = sizes_of(darts, args, data.image, data.classes)
    model = composed_supernet(args, darts, data.image, **sizes)
    options = trainer_options(
        args, data, model, "search", nesterov=False, drawings=True,
        schedule=partial(CosineAnnealingLR, T_max=args.epochs),
        callbacks=[*composed_stops(args), ArchitectureCheckpoint(args.out / "checkpoints")],
    )  # fmt: skip
    run_search(DartsTrainer(**options, **composed_options(args, model, data.image)), args)


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
