"""Trains a found cell from scratch.

    python examples/darts/retrain.py --data cifar10 --arc-checkpoint runs/darts/architecture.json

The file is one that search.py wrote, one of NNI's DARTS, or the name of a published cell, darts_v1
or darts_v2. Ends with the best test accuracy, parameters and FLOPs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from nas_plugin import apply_fixed_architecture
from nas_plugin.cli import guarded
from nas_plugin.data import load_data, standard_augment
from nas_plugin.files import save_checkpoint
from nas_plugin.profiling import count_flops, count_params
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import LRSchedulerCallback, RetrainTrainer, accuracy
from search_spaces.darts import architecture_file, darts_retrain


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--arc-checkpoint", "--arc_checkpoint", default="./checkpoints/epoch_0.json",
        help="architecture file, or darts_v1 or darts_v2")  # fmt: skip
    add("--data", default="cifar10", help="name of a data set, an npz file, or a folder of images")
    add("--data-dir", help="folder of the data set's files")
    add("--limit", type=int, help="use that many training and test images only")
    add("--layers", type=int, default=20)
    add("--channels", type=int, default=36)
    add("--nodes", type=int, default=4, help="intermediate nodes of a cell")
    add("--epochs", type=int, default=600)
    add("--batch-size", type=int, default=96)
    add("--accumulate", type=int, default=1, help="parts that a batch is computed in")
    add("--learning-rate", type=float, default=0.025)
    add("--aux-weight", type=float, default=0.4)
    add("--drop-path-prob", type=float, default=0.2)
    add("--grad-clip", type=float, default=5.0)
    add(
        "--cutout", type=int, default=16, help="side of the square; images below 32 pixels get none"
    )
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


def retrain(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    options = {"root": args.data_dir, "limit": args.limit, "seed": args.seed}
    train = load_data(args.data, split="train", **options)
    test = load_data(args.data, split="test", **options)
    image = train[0][0]
    supernet = darts_retrain(
        channels=args.channels,
        layers=args.layers,
        nodes=args.nodes,
        classes=train.num_classes,
        in_channels=image.shape[0],
        auxiliary=args.aux_weight > 0,
    )
    published = Path(args.arc_checkpoint).suffix == ""
    source = architecture_file(args.arc_checkpoint) if published else args.arc_checkpoint
    model = apply_fixed_architecture(supernet, source)
    # The auxiliary head only helps to train, so papers do not count it.
    params = count_params(model) - (count_params(model.auxiliary) if model.auxiliary else 0)
    flops = count_flops(model, torch.zeros(1, *image.shape))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.learning_rate, momentum=0.9, weight_decay=3e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    # A square of 16 pixels would hide most of a small image.
    cutout = args.cutout if image.shape[-1] >= 32 else 0
    trainer = RetrainTrainer(
        model,
        loss=nn.functional.cross_entropy,
        metrics=accuracy,
        optimizer=optimizer,
        num_epochs=args.epochs,
        dataset_train=train,
        dataset_valid=test,
        aux_weight=args.aux_weight,
        drop_path_prob=args.drop_path_prob,
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        grad_clip=args.grad_clip,
        augment=standard_augment(train, train=True, cutout=cutout, seed=args.seed),
        eval_augment=standard_augment(test, train=False),
        seed=args.seed,
        workers=args.workers,
        device=args.device,
        precision=args.precision,
        limit_batches=args.limit_batches,
        log_frequency=args.log_frequency,
        checkpoint_dir=args.out / "checkpoints" / "retrain",
        checkpoint_every=args.checkpoint_every,
        resume=args.resume,
        callbacks=[LRSchedulerCallback(schedule), *run_callbacks(args.out, "retrain")],
    )
    trainer.train()
    if trainer.ranks.is_first:
        save_checkpoint(args.out / "model.pt", model.state_dict())
        print(
            f"best test accuracy {100 * trainer.best:.2f} %, "
            f"parameters {params:,}, FLOPs {flops / 1e6:,.1f} M ({flops / 2e6:,.1f} M MACs)"
        )


if __name__ == "__main__":
    sys.exit(guarded(lambda: retrain(parse())))
