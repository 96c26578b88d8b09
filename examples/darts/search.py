"""Searches a cell with DARTS.

    python examples/darts/search.py --data cifar10 --epochs 50 --out runs/darts

The training part is halved: weights, logits. Under --out (by default the working folder) come
checkpoints/epoch_N.json, architecture.json, search.jsonl, settings.json, a drawing of the cell
after every epoch, and TensorBoard events. A search that was stopped continues with --resume.
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
    add_order_flag,
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
    add_run_flags(parser, epochs=50, batch_size=64, learning_rate=0.025, weight_decay=3e-4)
    add_execution_flag(parser)
    add_order_flag(parser)
    parser.add_argument("--hessian", choices=["finite_difference", "exact"],
                        default="finite_difference", help="of the second order")  # fmt: skip
    add_composition_flags(parser, needs=DartsTrainer.needs)
    add_size_flags(parser, darts)
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    sizes = sizes_of(darts, args, data.image, data.classes)
    model = composed_supernet(args, darts, data.image, **sizes)
    cosine = partial(CosineAnnealingLR, T_max=args.epochs, eta_min=args.learning_rate / 25)
    callbacks = [*composed_stops(args), ArchitectureCheckpoint(args.out / "checkpoints")]
    options = trainer_options(
        args, data, model, "search", nesterov=False, schedule=cosine, callbacks=callbacks,
        drawings=True,
    )  # fmt: skip
    trainer = DartsTrainer(
        **options,
        **composed_options(args, model, data.image),
        unrolled=args.unrolled,
        hessian=args.hessian,
    )
    run_search(trainer, args)


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
