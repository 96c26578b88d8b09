"""Every method on the NAS-Bench-201 space: search on images, then the truth from the benchmark.

    python perf/nasbench201_search.py --minutes 60 --out runs/table.jsonl

One line of the file per method and seed, appended as soon as a search ends; called again it goes on
with those that are missing, and starts none after its budget. The table that it prints at the end
holds the true CIFAR-10 test accuracy after 200 epochs of what each method found. ``random_choice``
draws a cell, ``parameters`` takes the connected cell of most parameters; both search nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.data import ArrayDataset, load_data, standard_augment
from nas_plugin.files import read_npz
from nas_plugin.mutators import mutators
from nas_plugin.runtime import seed_everything
from nas_plugin.space.encodings import nasbench201 as encoding
from nas_plugin.space.narrow import narrowed
from nas_plugin.trainers import (
    BilevelTrainer,
    EnasTrainer,
    LRSchedulerCallback,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SearchTrainer,
    accuracy,
    reward_accuracy,
)
from search_spaces.nasbench201 import nasbench201

BASELINES = ("random_choice", "parameters")
PATHS = {"random": "RandomNAS", "spos": "SPOS (best of N)", "fairnas": "FairNAS (best of N)"}


@cache
def images(side: int) -> ArrayDataset:
    """Returns the training images of CIFAR-10, averaged down to `side` pixels."""
    data = load_data("cifar10")
    averaged = nn.functional.adaptive_avg_pool2d(data.inputs.float(), side).round().to(torch.uint8)
    return ArrayDataset(
        averaged, data.targets, mean=data.mean, std=data.std, crop=max(1, data.crop * side // 32),
        flip=data.flip, name=data.name,
    )  # fmt: skip


def make_trainer(name: str, seed: int, args: argparse.Namespace) -> SearchTrainer:
    seed_everything(seed)
    whole = images(args.side)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    train = whole.subset(order[: args.train])
    valid = whole.subset(order[args.train : args.train + args.valid])
    builder = narrowed(nasbench201, 4) if name == "pc_darts" else nasbench201
    model = builder(channels=args.channels, cells=args.cells, affine=False)
    optimizer = torch.optim.SGD(
        model.parameters(), args.learning_rate, 0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs, 1e-3)
    common: dict[str, Any] = {
        "batch_size": args.batch_size, "seed": seed, "device": args.device, "grad_clip": 5.0,
        "augment": standard_augment(train, train=True, seed=seed),
        "eval_augment": standard_augment(valid, train=False), "progress": False,
        "callbacks": [LRSchedulerCallback(schedule)],
    }  # fmt: skip
    start = (model, nn.functional.cross_entropy, accuracy)
    rest = (optimizer, args.epochs, train, valid)
    if name == "enas":
        return EnasTrainer(
            *start, reward_accuracy, *rest, samples=args.samples, mutator_steps=args.controller,
            mutator_steps_aggregate=5, **common,
        )  # fmt: skip
    if name in PATHS:
        return RandomNasTrainer(*start, *rest, mutator=name, samples=args.samples, **common)
    if name == "proxyless":
        return ProxylessNasTrainer(*start, *rest, **common)
    return BilevelTrainer(*start, *rest, mutator=name, **common)


def found_by(name: str, seed: int, args: argparse.Namespace) -> Any:
    """Returns the architecture that a method finds."""
    if name == "random_choice":
        return encoding.space().sample(Random(seed))
    if name == "parameters":
        table = read_npz(args.table)
        cells = [encoding.from_ops([encoding.OPS[i] for i in ops]) for ops in table["ops"].tolist()]
        return max(
            (row for row, cell in enumerate(cells) if encoding.is_connected(cell)),
            key=lambda row: int(table["params_cifar10"][row]),
        )
    trainer = make_trainer(name, seed, args)
    trainer.train()
    return trainer.export()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--table", default="../shared/data/nasbench201/nasbench201.npz")
    add("--methods", nargs="+", default=[*BASELINES, *mutators.names()])
    add("--seeds", type=int, default=3)
    add("--channels", type=int, default=16)
    add("--cells", type=int, default=1, help="cells per stage; the benchmark has 5")
    add("--side", type=int, default=16, help="pixels of an image")
    add("--train", type=int, default=10000, help="training images")
    add("--valid", type=int, default=1000, help="held-out images, only measured")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=0.025)
    add("--samples", type=int, default=50, help="paths of which the best is returned, if sampled")
    add("--controller", type=int, default=20, help="steps of ENAS's controller per epoch")
    add("--minutes", type=float, default=60, help="begin no search later")
    add("--device", default="auto")
    add("--out", type=Path, required=True, help="file of the results, one line each")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        k: getattr(args, k)
        for k in ("channels", "cells", "side", "train", "epochs", "batch_size", "learning_rate")
    }
    lines = (
        [json.loads(line) for line in args.out.read_text().splitlines()]
        if args.out.is_file()
        else []
    )
    done = {(r["method"], r["seed"]) for r in lines if r["settings"] == settings}
    benchmark = open_benchmark("nasbench201")
    began = time.monotonic()
    # All methods of a seed before the next seed, so that a short budget compares them all.
    for seed in range(args.seeds):
        for name in args.methods:
            if (name, seed) in done or time.monotonic() - began > 60 * args.minutes:
                continue
            start = time.monotonic()
            found = found_by(name, seed, args)
            row = benchmark.index(found)
            record = {
                "method": name,
                "seed": seed,
                "cell": encoding.to_string(benchmark.architecture(row)),
                "test": benchmark.query(row, dataset="cifar10", epochs=200, split="test"),
                "seconds": round(time.monotonic() - start, 1),
                "settings": settings,
            }
            lines.append(record)
            with args.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{name} seed {seed}: {record['test']:.2f} %, {record['seconds']} s", flush=True)
    show([line for line in lines if line["settings"] == settings], args.methods, benchmark.name)


def show(lines: list[dict[str, Any]], methods: list[str], release: str) -> None:
    """Prints the table of what is done so far."""
    print(f"\n| method | seeds | CIFAR-10 test, {release} | cells |\n|---|---|---|---|")
    for name in methods:
        mine = [line for line in lines if line["method"] == name]
        if mine:
            values = [line["test"] for line in mine]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells = ", ".join(f"`{line['cell']}`" for line in mine)
            print(f"| {name} | {len(values)} | {statistics.mean(values):.2f}{spread} | {cells} |")


if __name__ == "__main__":
    main()
