"""What executors cost where there is nothing to fuse: steps on one path, `auto` beside `eager`.

    python perf/single_paths.py --out perf/results/single_paths.json

Both trainers draw the same paths. Steps are taken in turn and compared pair by pair, in seconds of
the process; a ratio of 1.00 says that looking for something to fuse costs nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from paired import Step, compared, written
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import (
    BilevelTrainer,
    EnasTrainer,
    ProxylessNasTrainer,
    SPOSSupernetTrainer,
    accuracy,
)
from search_spaces.darts import darts
from search_spaces.enas import enas_micro
from search_spaces.proxylessnas import proxylessnas
from search_spaces.spos import spos

METHODS = ("spos", "enas", "proxyless", "gdas")


def made(method: str, execution: str, args: argparse.Namespace) -> Step:
    torch.manual_seed(0)
    images = torch.randn(16 * args.batch_size, 3, 32, 32)
    data = ArrayDataset(images, torch.arange(len(images)) % 10)
    options: dict[str, Any] = {
        "batch_size": args.batch_size, "device": args.device, "execution": execution,
        "progress": False,
    }  # fmt: skip
    trainer: Any
    if method == "enas":
        model: nn.Module = enas_micro()
        trainer = EnasTrainer(model, nn.functional.cross_entropy, accuracy, accuracy,
                              sgd(model), 1, data, data, **options)  # fmt: skip
    elif method == "spos":
        model = spos(classes=10, small_images=True)
        trainer = SPOSSupernetTrainer(model, nn.functional.cross_entropy, accuracy, sgd(model), 1,
                                      data, data, **options)  # fmt: skip
    elif method == "proxyless":
        model = proxylessnas(classes=10, small_images=True)
        trainer = ProxylessNasTrainer(model, nn.functional.cross_entropy, accuracy, sgd(model), 1,
                                      data, data, **options)  # fmt: skip
    else:
        model = darts(channels=16, layers=5)
        trainer = BilevelTrainer(model, nn.functional.cross_entropy, accuracy, sgd(model), 1,
                                 data, data, mutator="gdas", **options)  # fmt: skip
    trainer.start_epoch(0)
    batch = next(iter(trainer.batches(0, 0)))
    return lambda: trainer.train_step(batch)


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=3e-4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="a data file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for method in args.methods:
        eager, auto, ratio = compared(
            made(method, "eager", args), made(method, "auto", args), args.device,
            pairs=args.pairs, warm_ups=2,
        )  # fmt: skip
        results[method] = {"eager": eager, "auto": auto, "ratio": ratio}
        print(f"{method:10} eager {eager:.4f} s, auto {auto:.4f} s, eager / auto {ratio:.3f}")
    if args.out:
        written(args.out, args.device, {"pairs": args.pairs, "results": results})


if __name__ == "__main__":
    main()
