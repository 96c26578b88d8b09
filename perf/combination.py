"""Which combination of parts finds the best cells of NAS-Bench-201: chosen, then reported.

    python perf/combination.py --minutes 120 --choose-minutes 80 --out runs/combination.jsonl

Choosing: from plain DARTS on, one part after the other (mutator, perturbation, partial channels,
regulariser, stop, selection) is varied, the others kept, and the value with the best signal stays.
The signal is the search's own: the accuracy on held-out images of the cell that was found, trained
from scratch for a few epochs on the images of the search. The benchmark's table is not read, and
the seeds are others than those that are reported.

Reporting: the combination that was chosen, and the methods it is compared with, on seeds of their
own, with the true CIFAR-10 test accuracy after 200 epochs.

One line of the file per search, appended as soon as it ends; called again, it continues. It begins
no search after its budget; what was best when choosing ended is reported, and the page says how far
choosing came.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from nasbench201_search import images
from torch import nn

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.data import ArrayDataset, standard_augment
from nas_plugin.errors import OptionError
from nas_plugin.files import read_npz
from nas_plugin.operations import add_auxiliary_skips
from nas_plugin.runtime import seed_everything
from nas_plugin.space.encodings import nasbench201 as encoding
from nas_plugin.space.narrow import narrowed
from nas_plugin.trainers import (
    AuxiliarySkip,
    BilevelTrainer,
    LRSchedulerCallback,
    PerturbationSelection,
    RandomNasTrainer,
    RetrainTrainer,
    SampledSelection,
    accuracy,
    finalize,
    stops,
)
from search_spaces.nasbench201 import child, nasbench201

PLAIN = {
    "mutator": "darts", "perturbation": "none", "partial": "1", "regularizer": "none",
    "stop": "none", "selection": "strength",
}  # fmt: skip
AXES: dict[str, tuple[str, ...]] = {
    "mutator": ("darts", "gdas", "snas", "drnas", "fair_darts", "fbnet", "reinmax"),
    "perturbation": ("none", "random", "dropout", "adversarial"),
    "partial": ("1", "2", "4"),
    "regularizer": ("none", "auxiliary"),
    "stop": ("none", "skips", "operations", "eigenvalue"),
    "selection": ("strength", "sampled", "perturbation"),
}
#: What the chosen combination is compared with: parts, or a way to find a cell without them.
COMPARED: dict[str, dict[str, str] | None] = {
    "parameters": None,
    "random_choice": None,
    "darts": PLAIN,
    "gdas": {**PLAIN, "mutator": "gdas"},
    "pc_darts": {**PLAIN, "partial": "4"},
    "drnas": {**PLAIN, "mutator": "drnas"},
    "random_nas": None,
    "spos": None,
}
SETTINGS = (
    "channels", "cells", "side", "train", "valid", "epochs", "batch_size", "learning_rate",
    "arch_learning_rate", "proxy_epochs", "samples",
)  # fmt: skip


def data_of(seed: int, args: argparse.Namespace) -> tuple[ArrayDataset, ArrayDataset]:
    """Returns the images of a search, and those that only give its signal."""
    whole = images(args.side)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    return whole.subset(order[: args.train]), whole.subset(order[args.train :][: args.valid])


def common(model: nn.Module, epochs: int, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    train, valid = data_of(seed, args)
    optimizer = torch.optim.SGD(
        model.parameters(), args.learning_rate, 0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, 1e-3)
    return {
        "model": model, "loss": nn.functional.cross_entropy, "metrics": accuracy,
        "optimizer": optimizer, "num_epochs": epochs, "dataset_train": train,
        "dataset_valid": valid, "batch_size": args.batch_size, "seed": seed, "device": args.device,
        "grad_clip": 5.0, "augment": standard_augment(train, train=True, seed=seed),
        "eval_augment": standard_augment(valid, train=False), "progress": False,
        "callbacks": [LRSchedulerCallback(schedule)],
    }  # fmt: skip


def searched(parts: dict[str, str], seed: int, args: argparse.Namespace) -> Any:
    """Returns the cell that a combination finds."""
    seed_everything(seed)
    builder = narrowed(nasbench201, int(parts["partial"]))
    model = builder(channels=args.channels, cells=args.cells, affine=False)
    regularizers = []
    if parts["regularizer"] == "auxiliary":
        add_auxiliary_skips(model, torch.zeros(1, 3, args.side, args.side))
        regularizers.append(AuxiliarySkip())
    options = common(model, args.epochs, seed, args)
    if parts["stop"] != "none":
        options["callbacks"].append(stops.get(parts["stop"])())
    trainer = BilevelTrainer(
        **options, mutator=parts["mutator"], regularizers=regularizers, execution="auto",
        perturbation=None if parts["perturbation"] == "none" else parts["perturbation"],
        arch_learning_rate=args.arch_learning_rate,
    )  # fmt: skip
    trainer.train()
    selection: Any = parts["selection"]
    if selection == "sampled":
        selection = SampledSelection(samples=args.samples, calibration_batches=4)
    if selection == "perturbation":
        selection = PerturbationSelection(epochs=1)
    return finalize(trainer, selection)


def found_by(name: str, parts: dict[str, str] | None, seed: int, args: argparse.Namespace) -> Any:
    """Returns the cell of a combination, or of a method that has no such parts."""
    if parts is not None:
        return searched(parts, seed, args)
    if name == "random_choice":
        return encoding.space().sample(Random(seed))
    if name == "parameters":
        table = read_npz(args.table)
        cells = [encoding.from_ops([encoding.OPS[i] for i in ops]) for ops in table["ops"].tolist()]
        rows = (row for row, cell in enumerate(cells) if encoding.is_connected(cell))
        return cells[max(rows, key=lambda row: int(table["params_cifar10"][row]))]
    seed_everything(seed)
    model = nasbench201(channels=args.channels, cells=args.cells, affine=False)
    trainer = RandomNasTrainer(
        **common(model, args.epochs, seed, args), samples=args.samples,
        mutator="random" if name == "random_nas" else "spos",
    )  # fmt: skip
    trainer.train()
    return trainer.export()


def signal(cell: str, seed: int, args: argparse.Namespace) -> float:
    """Returns the held-out accuracy of a cell that is trained from scratch at the search's size."""
    seed_everything(seed)
    model = child(cell, channels=args.channels, cells=args.cells)
    trainer = RetrainTrainer(**common(model, args.proxy_epochs, seed, args))
    trainer.train()
    return 100 * float(trainer.validate()["accuracy"])


class Results:
    """The lines of the file, and the budget.

    Args:
        args: The flags.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.began = args, time.monotonic()
        self.settings = {name: getattr(args, name) for name in SETTINGS}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        lines = args.out.read_text().splitlines() if args.out.is_file() else []
        self.lines = [r for r in map(json.loads, lines) if r["settings"] == self.settings]

    def has_time(self, minutes: float) -> bool:
        return time.monotonic() - self.began < 60 * minutes

    def get(self, phase: str, name: str, parts: Any, seed: int) -> dict[str, Any] | None:
        asked = (phase, name, parts, seed)
        for r in self.lines:
            if (r["phase"], r["name"], r["parts"], r["seed"]) == asked:
                return r
        return None

    def add(self, phase: str, name: str, parts: Any, seed: int, **values: Any) -> None:
        asked = {"phase": phase, "name": name, "parts": parts, "seed": seed}
        record = {**asked, **values, "settings": self.settings}
        self.lines.append(record)
        with self.args.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print({k: v for k, v in record.items() if k not in ("settings", "parts")}, flush=True)


def value(results: Results, name: str, parts: dict[str, str], minutes: float) -> float | None:
    """Returns the mean signal of a combination; None if time is up or it cannot be built."""
    args, values = results.args, []
    for seed in args.choose_seeds:
        record = results.get("choose", name, parts, seed)
        if record is None:
            if not results.has_time(minutes):
                return None
            start = time.process_time()
            try:
                cell = encoding.to_string(searched(parts, seed, args))
                found: float | None = signal(cell, seed, args)
            except OptionError as error:
                cell, found = str(error), None
            seconds = round(time.process_time() - start, 1)
            results.add("choose", name, parts, seed, cell=cell, signal=found, cpu_seconds=seconds)
            record = results.lines[-1]
        if record["signal"] is None:
            return None
        values.append(record["signal"])
    return statistics.mean(values)


def chosen(results: Results) -> tuple[dict[str, str], bool]:
    """Returns the best combination that was found, and whether every part was varied."""
    best = dict(PLAIN)
    minutes = results.args.choose_minutes
    highest = value(results, "choose", best, minutes)
    for axis, values in AXES.items():
        for name in values:
            tried = {**best, axis: name}
            if tried == best:
                continue
            found = value(results, "choose", tried, minutes)
            if found is not None and (highest is None or found > highest):
                best, highest = tried, found
    return best, results.has_time(minutes)


def reported(results: Results, best: dict[str, str]) -> None:
    """Runs what is missing of the report."""
    args = results.args
    benchmark = open_benchmark("nasbench201")
    for seed, (name, parts) in asked(args, best):
        if results.get("report", name, parts, seed) or not results.has_time(args.minutes):
            continue
        start = time.process_time()
        row = benchmark.index(found_by(name, parts, seed, args))
        results.add(
            "report", name, parts, seed, cell=encoding.to_string(benchmark.architecture(row)),
            test=benchmark.query(row, dataset="cifar10", epochs=200, split="test"),
            cpu_seconds=round(time.process_time() - start, 1),
        )  # fmt: skip
    print(f"\nchosen: {json.dumps(best)}\n\n| method | seeds | CIFAR-10 test, {benchmark.name} |")
    print("|---|---|---|")
    for name, parts in {"chosen": best, **COMPARED}.items():
        records = [results.get("report", name, parts, seed) for seed in args.seeds]
        tests = [r["test"] for r in records if r]
        if tests:
            spread = f" ± {statistics.stdev(tests):.2f}" if len(tests) > 1 else ""
            print(f"| {name} | {len(tests)} | {statistics.mean(tests):.2f}{spread} |")


def asked(
    args: argparse.Namespace, best: dict[str, str]
) -> Iterator[tuple[int, tuple[str, dict[str, str] | None]]]:
    """Yields every seed with every method, all methods of a seed before the next seed."""
    for seed in args.seeds:
        for entry in {"chosen": best, **COMPARED}.items():
            yield seed, entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = partial(parser.add_argument)
    add("--table", default="../shared/data/nasbench201/nasbench201.npz")
    add("--choose-seeds", type=int, nargs="+", default=[100, 101], help="never reported")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="reported")
    add("--channels", type=int, default=16)
    add("--cells", type=int, default=1, help="cells per stage; the benchmark has 5")
    add("--side", type=int, default=16, help="pixels of an image")
    add("--train", type=int, default=10000, help="training images")
    add("--valid", type=int, default=2000, help="held-out images of the signal")
    add("--epochs", type=int, default=20)
    add("--proxy-epochs", type=int, default=10, help="of the training that gives the signal")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=0.025)
    add(
        "--arch-learning-rate",
        type=float,
        help="learning rate of the logits (default: the method's own)",
    )
    add("--samples", type=int, default=50, help="architectures of which the best is kept")
    add("--choose-minutes", type=float, default=80, help="begin no search of a choice later")
    add("--minutes", type=float, default=120, help="begin no search later")
    add("--device", default="auto")
    add("--out", type=Path, required=True, help="file of the results, one line each")
    args = parser.parse_args()
    if set(args.seeds) & set(args.choose_seeds):
        raise SystemExit("Seeds that choose are never reported: --seeds and --choose-seeds differ.")
    results = Results(args)
    best, complete = chosen(results)
    if not complete:
        print("choosing ended with its budget: the later parts were not varied")
    reported(results, best)


if __name__ == "__main__":
    main()
