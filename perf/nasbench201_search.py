"""Every method on the NAS-Bench-201 space: search on images, then the truth from the benchmark.

    python perf/nasbench201_search.py --minutes 60 --out runs/table.jsonl

One line of the file per method and seed, appended as soon as a search ends; called again it
continues with those that are missing, and starts none after its budget. The table that it prints
at the end holds the true CIFAR-10 test accuracy after 200 epochs of what each method found, and
the share of as many random cells whose mean is at least as good: above 5 % a method cannot be told
from chance. ``random_choice`` draws a cell, ``parameters`` takes the connected cell of most
parameters; both search nothing.

A short search has fewer steps than the papers', so their learning rates would leave the logits
where they start: ``--arch-scale`` multiplies the logits' learning rate of every method.
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
from nas_plugin.evaluation import Budget, SupernetEvaluator, search
from nas_plugin.files import read_npz
from nas_plugin.mutators import mutators
from nas_plugin.runtime import seed_everything
from nas_plugin.space.encodings import nasbench201 as encoding
from nas_plugin.space.narrow import narrowed
from nas_plugin.strategies import SposEvolution
from nas_plugin.trainers import (
    ArchTrainer,
    BilevelTrainer,
    EnasTrainer,
    LRSchedulerCallback,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SearchTrainer,
    SingleLevelTrainer,
    accuracy,
    reward_accuracy,
)
from search_spaces.nasbench201 import nasbench201

BASELINES = ("random_choice", "parameters")
#: Train single paths; the second group finds the best of them by evolution, calibrating each path.
PATHS, EVOLVED = ("random", "spos", "fairnas"), ("spos", "fairnas")
#: Step weights and logits together.
SINGLE_LEVEL = ("data", "didarts")
#: What a record must agree in to belong to the same table.
SETTINGS = (
    "channels", "cells", "side", "train", "epochs", "batch_size", "learning_rate", "arch_scale",
    "samples", "controller",
)  # fmt: skip


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
    train, valid = parts(seed, args)
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
        "callbacks": [LRSchedulerCallback(schedule)], "execution": args.execution,
    }  # fmt: skip
    start = (model, nn.functional.cross_entropy, accuracy)
    rest = (optimizer, args.epochs, train, valid)
    if name == "enas":
        return EnasTrainer(
            *start, reward_accuracy, *rest, samples=args.samples, mutator_steps=args.controller,
            mutator_steps_aggregate=5, **common,
        )  # fmt: skip
    if name in PATHS:
        samples = 1 if name in EVOLVED else args.samples
        return RandomNasTrainer(*start, *rest, mutator=name, samples=samples, **common)
    trainer: ArchTrainer
    if name == "proxyless":
        trainer = ProxylessNasTrainer(*start, *rest, **common)
    elif name in SINGLE_LEVEL:
        trainer = SingleLevelTrainer(*start, *rest, mutator=name, **common)
    else:
        trainer = BilevelTrainer(*start, *rest, mutator=name, **common)
    for group in trainer.arch_optimizer.param_groups:
        if "lr" in group:  # exponentiated gradients have a rate that follows from the steps
            group["lr"] *= args.arch_scale
    return trainer


def parts(seed: int, args: argparse.Namespace) -> tuple[ArrayDataset, ArrayDataset]:
    """Returns the images that are searched on, and those that are only measured."""
    whole = images(args.side)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    valid = order[args.train : args.train + args.valid]
    return whole.subset(order[: args.train]), whole.subset(valid)


def evolved(trainer: SearchTrainer, seed: int, args: argparse.Namespace) -> Any:
    """Returns the best path that evolution finds with the weights of a trained supernet."""
    trainer.mutator.unbind(trainer.model)
    train, valid = parts(seed, args)
    evaluator = SupernetEvaluator(
        trainer.model, train, valid, calibration_batches=4, batch_size=args.batch_size, seed=seed,
        augment=standard_augment(train, train=True, seed=seed), device=args.device,
        eval_augment=standard_augment(valid, train=False),
    )  # fmt: skip
    tenth = max(1, args.samples // 10)
    strategy = SposEvolution(
        evaluator.space, population=2 * tenth, top=tenth, crossover=tenth, mutation=tenth, seed=seed
    )
    found = search(evaluator.space, strategy, evaluator, Budget(trials=args.samples))
    if found.best is None:
        raise SystemExit("No path could be evaluated.")
    return found.best.proposal.architecture


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
    return evolved(trainer, seed, args) if name in EVOLVED else trainer.export()


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
    add("--arch-scale", type=float, default=1.0, help="factor of the logits' learning rates")
    add("--samples", type=int, default=50, help="paths that are compared, if paths are")
    add("--controller", type=int, default=20, help="steps of ENAS's controller per epoch")
    add("--minutes", type=float, default=60, help="begin no search later")
    add("--device", default="auto")
    add("--execution", default="auto")
    add("--out", type=Path, required=True, help="file of the results, one line each")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(args, name) for name in SETTINGS}
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
            start = time.process_time()
            found = found_by(name, seed, args)
            row = benchmark.index(found)
            record = {
                "method": name,
                "seed": seed,
                "cell": encoding.to_string(benchmark.architecture(row)),
                "test": benchmark.query(row, dataset="cifar10", epochs=200, split="test"),
                "seconds": round(time.process_time() - start, 1),
                "settings": settings,
            }
            lines.append(record)
            with args.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{name} seed {seed}: {record['test']:.2f} %, {record['seconds']} s", flush=True)
    everything = benchmark.column(dataset="cifar10", epochs=200, split="test")
    show([line for line in lines if line["settings"] == settings], args.methods, everything)


def show(lines: list[dict[str, Any]], methods: list[str], everything: Any) -> None:
    """Prints the table of what is done so far."""
    print("\n| method | seeds | test accuracy | as good by chance | seconds | cells |")
    print("|---|---|---|---|---|---|")
    for name in methods:
        mine = [line for line in lines if line["method"] == name]
        if mine:
            values = [line["test"] for line in mine]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            chance = by_chance(statistics.mean(values), len(values), everything)
            cells = ", ".join(f"`{line['cell']}`" for line in mine)
            print(
                f"| {name} | {len(values)} | {statistics.mean(values):.2f}{spread} | {chance:.0%} "
                f"| {statistics.mean(line['seconds'] for line in mine):.0f} | {cells} |"
            )


def by_chance(mean: float, count: int, everything: Any, draws: int = 100_000) -> float:
    """Returns the share of means of `count` random cells that are at least `mean`."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(everything), (draws, count), generator=generator)
    return float((torch.tensor(everything)[rows].mean(dim=1) >= mean).double().mean())


if __name__ == "__main__":
    main()
