"""What a search with ENAS in the space of TextNAS is worth on SST-2, at a reduced size.

    python perf/textnas_sst2.py --out runs/textnas_sst2.json

For every seed: one search, and five random architectures of the same space; all six are trained
from scratch in the same way, from the same seed. The dev part chooses the epoch, whose test
accuracy counts. Prints the found one minus the mean of the five for each seed, and the mean of
these differences with its 95 % t interval over the seeds, whatever its sign.

Each finished piece is written to --out at once; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from statistics import mean, stdev
from typing import Any

import torch
from scipy.stats import t as student
from torch import nn

from nas_plugin import apply_fixed_architecture, search_space
from nas_plugin.cli import guarded
from nas_plugin.data import TextDataset, load_data
from nas_plugin.errors import OptionError
from nas_plugin.files import read_json, write_json
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import (
    BestEpoch,
    EnasTrainer,
    LRSchedulerCallback,
    RetrainTrainer,
    accuracy,
    reward_accuracy,
)
from search_spaces.textnas import textnas

Piece = dict[str, Any]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-dir", help="folder that holds the data set's files")
    add("--limit", type=int, help="use that many sentences of each part only")
    add("--max-length", type=int, default=32)
    add("--min-count", type=int, default=2)
    add("--layers", type=int, default=8)
    add("--width", type=int, default=64)
    add("--dropout", type=float, default=0.1)
    add("--embedding-dropout", type=float, default=0.5)
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=0.01)
    add("--search-epochs", type=int, default=10)
    add("--controller-steps", type=int, default=20, help="controller steps per epoch")
    add("--aggregate", type=int, default=5, help="architectures per controller step")
    add("--arch-learning-rate", type=float, default=0.005)
    add("--samples", type=int, default=20, help="architectures of which a search returns the best")
    add("--retrain-epochs", type=int, default=5)
    add("--random", type=int, default=5, help="random architectures a seed")
    add("--seeds", type=int, default=3)
    add("--out", type=Path, default=Path("textnas_sst2.json"), help="file of the results")
    return parser.parse_args()


class Experiment:
    """The searches and trainings; everything but the seed is equal for all."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.parts: dict[str, TextDataset] = {
            split: load_data(
                "sst2", split=split, root=args.data_dir, limit=args.limit,
                max_length=args.max_length, min_count=args.min_count,
            )
            for split in ("train", "valid", "test")
        }  # fmt: skip

    def supernet(self) -> nn.Module:
        args = self.args
        return textnas(
            vocabulary=len(self.parts["train"].vocabulary), embedding_size=args.width,
            width=args.width, layers=args.layers, classes=2, dropout=args.dropout,
            embedding_dropout=args.embedding_dropout,
        )  # fmt: skip

    def optimizer(self, model: nn.Module, epochs: int) -> tuple[Any, LRSchedulerCallback]:
        optimizer = torch.optim.Adam(model.parameters(), lr=self.args.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        return optimizer, LRSchedulerCallback(schedule)

    def search(self, seed: int) -> Piece:
        args = self.args
        seed_everything(seed)
        model = self.supernet()
        optimizer, schedule = self.optimizer(model, args.search_epochs)
        trainer = EnasTrainer(
            model, nn.functional.cross_entropy, accuracy, reward_accuracy, optimizer,
            args.search_epochs, self.parts["train"], self.parts["valid"], skip_weight=0.0,
            arch_learning_rate=args.arch_learning_rate, mutator_steps=args.controller_steps,
            mutator_steps_aggregate=args.aggregate, samples=args.samples,
            batch_size=args.batch_size, grad_clip=5.0, seed=seed, device="cpu",
            callbacks=[schedule],
        )  # fmt: skip
        trainer.train()
        return {"architecture": trainer.export().to_json(), "baseline": trainer.baseline}

    def random(self, seed: int, number: int) -> Piece:
        rng = Random(f"{seed} {number}")
        return {"architecture": search_space(self.supernet()).sample(rng).to_json()}

    def retrain(self, seed: int, architecture: Mapping[str, Any]) -> Piece:
        args = self.args
        seed_everything(seed)
        model = apply_fixed_architecture(self.supernet(), architecture)
        optimizer, schedule = self.optimizer(model, args.retrain_epochs)
        best = BestEpoch(self.parts["test"])
        trainer = RetrainTrainer(
            model, nn.functional.cross_entropy, accuracy, optimizer, args.retrain_epochs,
            self.parts["train"], self.parts["valid"], batch_size=args.batch_size, grad_clip=5.0,
            seed=seed, device="cpu", callbacks=[schedule, best],
        )  # fmt: skip
        trainer.train()
        return {
            "epoch": best.epoch + 1,
            "valid": best.valid,
            "test": best.test["accuracy"],
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def run(args: argparse.Namespace) -> None:
    settings = {k: v for k, v in vars(args).items() if k not in ("out", "seeds", "data_dir")}
    result: dict[str, Any] = {"settings": settings, "pieces": {}}
    if args.out.exists():
        result = read_json(args.out)
        if result["settings"] != settings:
            raise OptionError(f"{args.out} was made with other settings. Choose another --out.")
    pieces = result["pieces"]
    experiment = Experiment(args)

    def piece(name: str, make: Callable[[], Piece]) -> Piece:
        if name not in pieces:
            began = time.monotonic()
            pieces[name] = {**make(), "seconds": round(time.monotonic() - began, 1)}
            write_json(args.out, result)
            shown = {k: v for k, v in pieces[name].items() if k != "architecture"}
            print(name, shown, flush=True)
        found: Piece = pieces[name]
        return found

    differences = []
    for seed in range(args.seeds):
        made: dict[str, Callable[[], Piece]] = {"found": partial(experiment.search, seed)}
        for i in range(args.random):
            made[f"random {i}"] = partial(experiment.random, seed, i)
        tests = {}
        for name, make in made.items():
            chosen = piece(f"seed {seed}, {name}", make)["architecture"]
            trained = piece(
                f"seed {seed}, {name}, trained", partial(experiment.retrain, seed, chosen)
            )
            tests[name] = 100 * trained["test"]
        found = tests.pop("found")
        differences.append(found - mean(tests.values()))
        print(
            f"seed {seed}: found {found:.2f} %, random {mean(tests.values()):.2f} % "
            f"(± {stdev(tests.values()) if len(tests) > 1 else 0:.2f}), "
            f"difference {differences[-1]:+.2f}",
            flush=True,
        )
    result["summary"] = {"differences": differences, "mean": mean(differences)}
    if len(differences) > 1:
        spread = stdev(differences) / len(differences) ** 0.5
        half = float(student.ppf(0.975, len(differences) - 1)) * spread
        result["summary"]["interval"] = [mean(differences) - half, mean(differences) + half]
    write_json(args.out, result)
    print(result["summary"])


if __name__ == "__main__":
    sys.exit(guarded(lambda: run(parse())))
