"""Searches a network for sentences with ENAS in the space of TextNAS.

    python examples/textnas/search.py --data sst2 --glove glove.6B.300d.txt --out runs/textnas

The training part is split 90 to 10: into what trains the weights, and what rewards the controller
and ranks its last samples. The validation part is only reported. Under --out (by default the
working folder) come checkpoints/epoch_N.json, architecture.json, search.jsonl, settings.json and
TensorBoard events. A search that was stopped goes on with --resume.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from nas_plugin.cli import guarded
from nas_plugin.data import load_data, load_glove
from nas_plugin.files import write_json
from nas_plugin.mutators import EnasMutator
from nas_plugin.reporting.callbacks import run_callbacks
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import (
    ArchitectureCheckpoint,
    EnasTrainer,
    LRSchedulerCallback,
    accuracy,
    reward_accuracy,
)
from search_spaces.textnas import textnas


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
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
    add("--dropout", type=float, default=0.5)
    add("--embedding-dropout", type=float, default=0.5)
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=0.008)
    add("--grad-clip", type=float, default=5.0)
    add("--child-steps", type=int, help="weight steps an epoch; by default one pass")
    add("--controller-steps", type=int, default=50, help="an epoch")
    add("--aggregate", type=int, default=10, help="architectures a controller step")
    add("--controller-learning-rate", type=float, default=1e-3)
    add("--tanh-constant", type=float, default=1.5, help="bounds the controller's logits")
    add("--skip-weight", type=float, default=0.0, help="of the skip penalty")
    add("--samples", type=int, default=10, help="architectures of which the best is returned")
    add("--device", default="auto")
    add("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    add("--seed", type=int, default=0)
    add("--log-frequency", type=int, default=10, help="steps between two records of the log")
    add("--checkpoint-every", type=int, default=100, help="steps between two checkpoints")
    add("--limit-batches", type=int, help="fewer steps an epoch, for a quick look")
    add("--resume", action="store_true", help="go on from the newest checkpoint under --out")
    add("--out", type=Path, default=Path("."))
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    options = {
        "root": args.data_dir, "limit": args.limit, "seed": args.seed,
        "max_length": args.max_length, "min_count": args.min_count,
        # SST has a validation file.
        "held_out": 0.1 if args.data in ("trec", "mr") else None,
    }  # fmt: skip
    train = load_data(args.data, split="train", **options)
    valid = load_data(args.data, split="valid", **options)
    embedding = None
    if args.glove is not None:
        embedding = load_glove(args.glove, train.vocabulary, args.embedding_size, seed=args.seed)
    model = textnas(
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
    optimizer = torch.optim.Adam(model.parameters(), lr=args.learning_rate, eps=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, args.epochs, eta_min=args.learning_rate / 8
    )
    trainer = EnasTrainer(
        model,
        loss=nn.functional.cross_entropy,
        metrics=accuracy,
        reward_function=reward_accuracy,
        optimizer=optimizer,
        num_epochs=args.epochs,
        dataset_train=train,
        dataset_valid=valid,
        mutator=lambda m: EnasMutator(m, seed=args.seed, tanh_constant=args.tanh_constant),
        skip_weight=args.skip_weight,
        child_steps=args.child_steps,
        mutator_lr=args.controller_learning_rate,
        mutator_steps=args.controller_steps,
        mutator_steps_aggregate=args.aggregate,
        samples=args.samples,
        batch_size=args.batch_size,
        grad_clip=args.grad_clip,
        seed=args.seed,
        device=args.device,
        precision=args.precision,
        limit_batches=args.limit_batches,
        log_frequency=args.log_frequency,
        checkpoint_dir=args.out / "checkpoints" / "search",
        checkpoint_every=args.checkpoint_every,
        resume=args.resume,
        callbacks=[
            LRSchedulerCallback(schedule),
            ArchitectureCheckpoint(args.out / "checkpoints"),
            *run_callbacks(args.out, "search"),
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
