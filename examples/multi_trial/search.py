"""Searches with a strategy that trains every child from scratch.

    python examples/multi_trial/search.py --strategy regularized_evolution --trials 30 --out runs/re
    python examples/multi_trial/search.py --strategy hyperband --trials 40 --out runs/hyperband
    python examples/multi_trial/search.py --strategy nsga2 --trials 60 --out runs/front

Children are ranked on a held-out part of the training set. Under --out come trials.jsonl, which a
search that was stopped goes on from, architecture.json, and front.json with front.png, the
trade-off of accuracy and parameters that was met.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nas_plugin import LayerChoice, Repeat, ValueChoice, build, search_space
from nas_plugin.cli import guarded
from nas_plugin.data import load_data
from nas_plugin.errors import OptionError, StrategyError
from nas_plugin.evaluation import Budget, ProcessPool, TrainingEvaluator, search
from nas_plugin.files import make_folder, write_json
from nas_plugin.reporting import plot_front
from nas_plugin.scripts import writable_folder
from nas_plugin.strategies import Trial, fronts, make_strategy, strategies


def block(channels: int, where: str) -> nn.Module:
    """A chosen operation, normalised, around which the input is added."""
    return Residual(
        LayerChoice(
            {
                "conv3x3": nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                "conv5x5": nn.Conv2d(channels, channels, 5, padding=2, bias=False),
                "depthwise": nn.Conv2d(
                    channels, channels, 5, padding=2, groups=channels, bias=False
                ),
                "pool": nn.AvgPool2d(3, stride=1, padding=1),
            },
            key=f"{where}/op",
        ),
        channels,
    )


class Residual(nn.Module):
    """``relu(x + norm(op(x)))``."""

    def __init__(self, op: nn.Module, channels: int) -> None:
        super().__init__()
        self.op, self.norm = op, nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.norm(self.op(x)))


def make_net(in_channels: int, classes: int) -> nn.Module:
    """Two stages of one to three blocks; width, depth and operations vary."""
    width = ValueChoice([4, 8, 16, 24], key="width")
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        Repeat(lambda i: block(width, f"stage0/{i}"), (1, 3), key="stage0"),
        nn.MaxPool2d(2),
        Repeat(lambda i: block(width, f"stage1/{i}"), (1, 3), key="stage1"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


def make_factory(data: str) -> Callable[[], nn.Module]:
    """Returns what makes the net for a data set."""
    dataset = load_data(data)
    return partial(make_net, dataset[0][0].shape[0], dataset.num_classes)


def make_evaluator(args: argparse.Namespace) -> TrainingEvaluator:
    child = partial(build, make_factory(args.data))
    return TrainingEvaluator(
        child, data=args.data, epochs=args.epochs, limit=args.limit, seed=args.seed
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--strategy", default="regularized_evolution", help=f"one of {', '.join(strategies)}")
    add("--option", action="append", default=[], metavar="NAME=VALUE",
        help="an argument of the strategy, in JSON; may be repeated")  # fmt: skip
    add("--trials", type=int, default=30)
    add("--data", default="digits", help="name of a data set, an npz file, or a folder of images")
    add("--limit", type=int, help="use only this many training images")
    add("--epochs", type=int, default=9, help="epochs per child, unless the strategy sets them")
    add("--workers", type=int, default=1, help="processes that train; 0 trains in this one")
    add("--timeout", type=float, metavar="SECONDS",
        help="a training that takes longer is ended and counts as a failure")  # fmt: skip
    add("--seed", type=int, default=0)
    add("--out", type=writable_folder, default=Path("."))
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    space = search_space(build(make_factory(args.data)))
    options = dict(read_option(text) for text in args.option)
    strategy = make_strategy(args.strategy, space, seed=args.seed, **options)
    make = partial(make_evaluator, args)
    if args.timeout is not None and args.workers == 0:
        raise OptionError("--timeout needs --workers: a process can be ended, this one cannot.")
    trainer = (
        make() if args.workers == 0
        else ProcessPool(make, workers=args.workers, timeout=args.timeout)
    )  # fmt: skip
    make_folder(args.out)
    print(f"{space.size:,} architectures")
    log = args.out / "trials.jsonl"
    found = search(space, strategy, trainer, Budget(trials=args.trials), log=log, on_trial=show)
    if found.best is None:
        raise StrategyError("Every trial has failed; trials.jsonl says why.")
    write_json(args.out / "architecture.json", found.best.architecture.to_json())
    # What was trained for fewer epochs is no match for the others.
    thorough = [t for t in found.history if t.proposal.fidelity == found.best.proposal.fidelity]
    points = {t.proposal.id: (accuracy(t), -params(t)) for t in thorough if t.value is not None}
    trials = {t.proposal.id: t for t in thorough}
    front = [trials[list(points)[i]] for i in fronts(list(points.values()))[0]]
    write_json(args.out / "front.json", [describe(trial) for trial in front])
    if importlib.util.find_spec("matplotlib") is not None:
        plot_front(
            [(params(trials[i]), accuracy(trials[i])) for i in points],
            args.out / "front.png",
            xlabel="parameters",
            ylabel="validation accuracy (%)",
        )
    print(f"best of {len(found.history)}: {accuracy(found.best):.2f} % on held-out images, "
          f"{params(found.best):,.0f} parameters: {args.out / 'architecture.json'}")  # fmt: skip
    for trial in front:
        print(f"  front: {accuracy(trial):.2f} %, {params(trial):,.0f} parameters")


def read_option(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found:
        raise OptionError(f"--option takes NAME=VALUE, got '{text}'.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def show(trial: Trial) -> None:
    epochs = "" if trial.proposal.fidelity is None else f"{trial.proposal.fidelity:g} epochs, "
    failed = trial.outcome is not None and trial.outcome.failure
    result = failed or f"{accuracy(trial):.2f} %, {params(trial):,.0f} parameters"
    print(f"trial {trial.proposal.id}: {epochs}{result}", flush=True)


def describe(trial: Trial) -> dict[str, Any]:
    return {
        "architecture": trial.architecture.to_json(),
        "accuracy": accuracy(trial),
        "params": params(trial),
    }


def accuracy(trial: Trial) -> float:
    return metric(trial, "accuracy")


def params(trial: Trial) -> float:
    return metric(trial, "params")


def metric(trial: Trial, name: str) -> float:
    return 0.0 if trial.outcome is None else trial.outcome.metrics[name]


if __name__ == "__main__":
    sys.exit(guarded(lambda: run(parse())))
