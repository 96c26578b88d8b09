"""Searches a cell with CDARTS: a small and a large network teach each other.

    python examples/cdarts/search.py --data cifar10 --out runs/cdarts

The small network has 8 cells and holds the logits, the large one has 20 and runs the architecture
of the moment; stem and distillation heads are shared. What it finds is retrained by

    python examples/darts/retrain.py --arc-checkpoint runs/cdarts/architecture.json

Architectures of every epoch are in checkpoints/epoch_N.json. A search that was stopped continues
with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys

from nas_plugin.cli import guarded
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    load_images,
    run_search,
    sizes_of,
    trainer_options,
)
from nas_plugin.trainers import ArchitectureCheckpoint, CdartsTrainer, LRSchedulerCallback
from search_spaces.cdarts import cdarts


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=32, batch_size=128, learning_rate=0.05, weight_decay=3e-4)
    add_execution_flag(parser)
    add = parser.add_argument
    add("--large-layers", type=int, default=20, help="cells of the evaluation network")
    add("--nasnet-lr", type=float, default=0.1, help="learning rate of the evaluation network")
    add("--alpha-lr", type=float, default=6e-4, help="learning rate of the logits")
    add("--alpha-weight-decay", type=float, default=1e-3)
    add("--warmup-epochs", type=int, default=2, help="epochs of the search network alone")
    add("--regular-coeff", type=float, default=5.0)
    add("--regular-ratio", type=float, default=0.5)
    add("--loss-alpha", type=float, default=1.0)
    add("--temperature", type=float, default=2.0, help="weight of the distillation loss")
    add("--interactive-type", choices=["kl", "smoothl1"], default="kl")
    add("--fix-head", action=argparse.BooleanOptionalAction, default=False,
        help="leave the distillation heads untrained")  # fmt: skip
    add("--share", action=argparse.BooleanOptionalAction, default=True,
        help="share stem and heads between the networks")  # fmt: skip
    add_size_flags(parser, cdarts, layers=8)
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    sizes = sizes_of(cdarts, args, data.image, data.classes)
    small = cdarts(**sizes)
    shared = small if args.share else None
    large = cdarts(**{**sizes, "layers": args.large_layers}, shared=shared)
    common = trainer_options(args, data, small, "search", drawings=True)
    options = {
        k: v for k, v in common.items()
        if k not in ("model", "loss", "metrics", "optimizer", "dataset_train", "callbacks")
    }  # fmt: skip
    callbacks = [c for c in common["callbacks"] if not isinstance(c, LRSchedulerCallback)]
    trainer = CdartsTrainer(
        small, large, common["loss"], data.train, metrics=common["metrics"],
        callbacks=[ArchitectureCheckpoint(args.out / "checkpoints"), *callbacks],
        w_lr=args.learning_rate, w_weight_decay=args.weight_decay, nasnet_lr=args.nasnet_lr,
        alpha_lr=args.alpha_lr, alpha_weight_decay=args.alpha_weight_decay,
        warmup_epochs=args.warmup_epochs, regular_coeff=args.regular_coeff,
        regular_ratio=args.regular_ratio, loss_alpha=args.loss_alpha, loss_T=args.temperature,
        interactive_type=args.interactive_type, fix_head=args.fix_head, **options,
    )  # fmt: skip
    run_search(trainer, args)


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
