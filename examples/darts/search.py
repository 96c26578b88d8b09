"""Searches a cell with DARTS.

    python examples/darts/search.py --data cifar10 --epochs 50 --out runs/darts

Under --out (by default the working folder) come checkpoints/epoch_N.json, architecture.json,
search.jsonl, settings.json, a drawing of the cell after every epoch, and TensorBoard events. A
search that was stopped goes on with --resume.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from nas_plugin.cli import guarded
from nas_plugin.data import load_data, standard_augment
from nas_plugin.files import write_json
from nas_plugin.mutators import mutators
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import (
    ArchitectureCheckpoint,
    DartsTrainer,
    LRSchedulerCallback,
    accuracy,
)
from search_spaces.darts import darts


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", default="cifar10", help="name of a data set, an npz file, or a folder of images")
    add("--data-dir", help="folder of the data set's files")
    add("--limit", type=int, help="use that many training and test images only")
    add("--layers", type=int, default=8)
    add("--channels", type=int, default=16)
    add("--nodes", type=int, default=4, help="intermediate nodes of a cell")
    add("--epochs", type=int, default=50)
    add("--batch-size", type=int, default=64)
    add("--accumulate", type=int, default=1, help="parts that a batch is computed in")
    add("--learning-rate", type=float, default=0.025)
    add("--arch-learning-rate", type=float, default=3e-4)
    add("--arch-start-epoch", type=int, default=0, help="epochs that train weights only")
    add("--grad-clip", type=float, default=5.0)
    add("--unrolled", action="store_true", help="second order")
    add("--hessian", choices=["finite_difference", "exact"], default="finite_difference")
    add("--mutator", default="darts", help=f"one of {', '.join(mutators.names())}")
    add("--execution", choices=["auto", "eager"], default="auto")
    add("--device", default="auto")
    add("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    add("--workers", type=int, default=0, help="processes that read data that is not in memory")
    add("--seed", type=int, default=0)
    add("--log-frequency", type=int, default=10, help="steps between two records of the log")
    add("--checkpoint-every", type=int, default=100, help="steps between two checkpoints")
    add("--limit-batches", type=int, help="fewer steps an epoch, for a quick look")
    add("--resume", action="store_true", help="go on from the newest checkpoint under --out")
    add("--out", type=Path, default=Path("."))
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    options = {"root": args.data_dir, "limit": args.limit, "seed": args.seed}
    train = load_data(args.data, split="train", **options)
    test = load_data(args.data, split="test", **options)
    model = darts(
        channels=args.channels,
        layers=args.layers,
        nodes=args.nodes,
        classes=train.num_classes,
        in_channels=train[0][0].shape[0],
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.learning_rate, momentum=0.9, weight_decay=3e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, args.epochs, eta_min=args.learning_rate / 25
    )
    trainer = DartsTrainer(
        model,
        loss=nn.functional.cross_entropy,
        metrics=accuracy,
        optimizer=optimizer,
        num_epochs=args.epochs,
        dataset_train=train,
        dataset_valid=test,
        mutator=args.mutator,
        arch_learning_rate=args.arch_learning_rate,
        arch_start_epoch=args.arch_start_epoch,
        unrolled=args.unrolled,
        hessian=args.hessian,
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        grad_clip=args.grad_clip,
        augment=standard_augment(train, train=True, seed=args.seed),
        eval_augment=standard_augment(test, train=False),
        seed=args.seed,
        workers=args.workers,
        device=args.device,
        precision=args.precision,
        execution=args.execution,
        limit_batches=args.limit_batches,
        log_frequency=args.log_frequency,
        checkpoint_dir=args.out / "checkpoints" / "search",
        checkpoint_every=args.checkpoint_every,
        resume=args.resume,
        callbacks=[
            LRSchedulerCallback(schedule),
            ArchitectureCheckpoint(args.out / "checkpoints"),
            *run_callbacks(args.out, "search", drawings=True),
        ],
    )
    args.out.mkdir(parents=True, exist_ok=True)
    if trainer.ranks.is_first:
        write_json(args.out / "settings.json", {k: _plain(v) for k, v in vars(args).items()})
    trainer.train()
    if trainer.ranks.is_first:
        trainer.export(args.out / "architecture.json")
        print(f"found architecture: {args.out / 'architecture.json'}")


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
