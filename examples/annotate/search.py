"""Searches the convolutions of a residual network whose code knows nothing of it.

    python examples/annotate/search.py --out runs/annotate

Every convolution of a block may stay, or become one of another kernel size or a separable one.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import copy
import sys
from pathlib import Path

import torch
from resnet import ResNet
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin import Rule, annotate, apply_fixed_architecture, search_space
from nas_plugin.cli import guarded
from nas_plugin.data import load_data, standard_augment
from nas_plugin.operations import conv_alternatives
from nas_plugin.profiling import count_params
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import Images, chosen, held_out, writable_folder
from nas_plugin.trainers import (
    BestEpoch,
    DartsTrainer,
    LRSchedulerCallback,
    RetrainTrainer,
    accuracy,
)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", default="digits", help="name of a data set, an npz file, or a folder of images")
    add("--data-dir", help="folder that holds the data set's files")
    add("--channels", type=int, default=8)
    add("--epochs", type=int, default=8, help="of the search, and of the retraining")
    add("--batch-size", type=int, default=64)
    add("--device", default="auto")
    add("--seed", type=int, default=0)
    add("--resume", action="store_true", help="continue from the newest checkpoint under --out")
    add("--out", type=writable_folder, default=Path("."))
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    train = load_data(args.data, split="train", root=args.data_dir)
    test = load_data(args.data, split="test", root=args.data_dir)
    classes = Images(train, test).classes
    model = ResNet(train[0][0].shape[0], args.channels, classes)
    keys = annotate(model, Rule("blocks.*.conv?", conv_alternatives))
    print(f"{len(keys)} choices, {search_space(model).size:,} architectures: {', '.join(keys)}")
    fresh = copy.deepcopy(model)
    common = {
        "loss": nn.functional.cross_entropy,
        "metrics": accuracy,
        "num_epochs": args.epochs,
        "dataset_train": train,
        "dataset_valid": test,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "device": args.device,
        "resume": args.resume,
    }
    optimizer, schedule = sgd(model, args.epochs)
    searcher = DartsTrainer(
        model,
        optimizer=optimizer,
        arch_learning_rate=1e-2,
        checkpoint_dir=args.out / "checkpoints" / "search",
        callbacks=[schedule, *run_callbacks(args.out, "search", drawings=True)],
        **common,
    )
    searcher.train()
    found = searcher.export(args.out / "architecture.json")
    print(found.dumps())

    plain = apply_fixed_architecture(fresh, args.out / "architecture.json")
    optimizer, schedule = sgd(plain, args.epochs)
    parts = held_out(Images(train, test), 0.1, args.seed)
    normalised = standard_augment(train, train=False)
    best = BestEpoch(test, augment=normalised, path=args.out / "model.pt")
    trainer = RetrainTrainer(
        plain,
        optimizer=optimizer,
        checkpoint_dir=args.out / "checkpoints" / "retrain",
        callbacks=[schedule, best, *run_callbacks(args.out, "retrain")],
        **{**common, "dataset_train": parts.train, "dataset_valid": parts.test},
    )
    trainer.train()
    print(f"{chosen(best)}, parameters {count_params(plain):,}")


def sgd(model: nn.Module, epochs: int) -> tuple[torch.optim.Optimizer, LRSchedulerCallback]:
    """Returns SGD and what lowers its learning rate to zero over the epochs."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4)
    return optimizer, LRSchedulerCallback(CosineAnnealingLR(optimizer, epochs))


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
