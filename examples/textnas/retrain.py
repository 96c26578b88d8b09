"""Trains a found network for sentences from scratch.

    python examples/textnas/retrain.py --data sst2 --arc-checkpoint runs/textnas/architecture.json

The file is one that search.py wrote, or one of NNI's TextNAS. The validation part chooses the
epoch; its test accuracy is printed at the end, and model.pt holds its weights. The test part
chooses nothing. A training that was stopped goes on with --resume.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from nas_plugin import apply_fixed_architecture
from nas_plugin.cli import guarded
from nas_plugin.data import load_data, load_glove
from nas_plugin.profiling import count_params
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import BestEpoch, LRSchedulerCallback, RetrainTrainer, accuracy
from search_spaces.textnas import textnas


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--arc-checkpoint", "--arc_checkpoint", default="architecture.json",
        help="architecture file")  # fmt: skip
    add("--data", default="sst2", choices=["sst2", "sst5", "trec", "mr"])
    add("--data-dir", help="folder of the data set's files")
    add("--limit", type=int, help="use that many sentences of each part only")
    add("--max-length", type=int, default=64, help="words of a sentence; the rest is cut")
    add("--min-count", type=int, default=1, help="rarer words are unknown")
    add("--glove", type=Path, help="text file of word vectors; without it they start at random")
    add("--embedding-size", type=int, default=300)
    add("--layers", type=int, default=24)
    add("--width", type=int, default=256)
    add("--heads", type=int, default=4, help="of the attention; they divide the width")
    add("--dropout", type=float, default=0.2)
    add("--embedding-dropout", type=float, default=0.2)
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=128)
    add("--accumulate", type=int, default=1, help="parts that a batch is computed in")
    add("--learning-rate", type=float, default=0.002)
    add("--weight-decay", type=float, default=1e-6)
    add("--grad-clip", type=float, default=5.0)
    add("--device", default="auto")
    add("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    add("--seed", type=int, default=0)
    add("--log-frequency", type=int, default=10, help="steps between two records of the log")
    add("--checkpoint-every", type=int, default=100, help="steps between two checkpoints")
    add("--limit-batches", type=int, help="fewer steps an epoch, for a quick look")
    add("--resume", action="store_true", help="go on from the newest checkpoint under --out")
    add("--out", type=Path, default=Path("."))
    return parser.parse_args(argv)


def retrain(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    options = {
        "root": args.data_dir, "limit": args.limit, "seed": args.seed,
        "max_length": args.max_length, "min_count": args.min_count,
        # SST has a validation file.
        "held_out": 0.1 if args.data in ("trec", "mr") else None,
    }  # fmt: skip
    train = load_data(args.data, split="train", **options)
    valid = load_data(args.data, split="valid", **options)
    test = load_data(args.data, split="test", **options)
    embedding = None
    if args.glove is not None:
        embedding = load_glove(args.glove, train.vocabulary, args.embedding_size, seed=args.seed)
    supernet = textnas(
        vocabulary=len(train.vocabulary),
        embedding=embedding,
        embedding_size=args.embedding_size,
        width=args.width,
        layers=args.layers,
        classes=train.num_classes,
        heads=args.heads,
        dropout=args.dropout,
        embedding_dropout=args.embedding_dropout,
    )
    words = count_params(supernet.embedding)
    model = apply_fixed_architecture(supernet, args.arc_checkpoint)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, args.epochs, eta_min=args.learning_rate / 400
    )
    best = BestEpoch(test, path=args.out / "model.pt")
    trainer = RetrainTrainer(
        model,
        loss=nn.functional.cross_entropy,
        metrics=accuracy,
        optimizer=optimizer,
        num_epochs=args.epochs,
        dataset_train=train,
        dataset_valid=valid,
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        grad_clip=args.grad_clip,
        seed=args.seed,
        device=args.device,
        precision=args.precision,
        limit_batches=args.limit_batches,
        log_frequency=args.log_frequency,
        checkpoint_dir=args.out / "checkpoints" / "retrain",
        checkpoint_every=args.checkpoint_every,
        resume=args.resume,
        callbacks=[LRSchedulerCallback(schedule), best, *run_callbacks(args.out, "retrain")],
    )
    trainer.train()
    if trainer.ranks.is_first:
        print(
            f"test accuracy {100 * best.test['accuracy']:.2f} % at epoch {best.epoch + 1}, chosen "
            f"by {100 * best.valid:.2f} % in validation; parameters {count_params(model):,}, "
            f"{words:,} of them in the embedding"
        )


if __name__ == "__main__":
    sys.exit(guarded(lambda: retrain(parse())))
