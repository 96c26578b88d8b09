"""What steps on sampled paths cost: against a plain child, and against the full mixture.

    python perf/sampled_paths.py

Single path: a step of the supernet on a path, and a step of the plain child of that path with the
same optimizer, both with momentum. Logits: a step of ProxylessNAS on two paths, and two steps of
the mixture of all candidates on the same network: the textbook's, whose `backward` fills the
gradients of the weights too, and the lean one of `DartsTrainer`, which computes those of the
logits alone. Times are taken in turn and compared pair by pair; peak memory is that of a process of
its own, above what it needs before its first step.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from paired import Step, compared, peak, peak_of_own_process, threads
from torch import nn

from nas_plugin import apply_fixed_architecture
from nas_plugin.data import ArrayDataset
from nas_plugin.mutators import SposMutator
from nas_plugin.space.architecture import Architecture
from nas_plugin.trainers import (
    BilevelTrainer,
    ProxylessNasTrainer,
    RetrainTrainer,
    SPOSSupernetTrainer,
    accuracy,
)
from search_spaces.darts import darts
from search_spaces.proxylessnas import proxylessnas
from search_spaces.spos import spos

KINDS = ("textbook mixture", "lean mixture", "two paths")


class OnePath(SposMutator):
    """Draws as ever, and then takes the same path."""

    path: Architecture

    def _draw(self) -> Architecture:
        super()._draw()
        return self.path


def made(cls: Any, model: nn.Module, args: argparse.Namespace, **options: Any) -> Any:
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=4e-5)
    images = torch.randn(8 * args.batch_size, 3, args.size, args.size)
    data = ArrayDataset(images, torch.arange(len(images)) % 10)
    return cls(
        model, nn.functional.cross_entropy, accuracy, sgd, 1, data, data,
        batch_size=args.batch_size, device=args.device, **options,
    )  # fmt: skip


def single_path(args: argparse.Namespace, seed: int) -> tuple[Step, Step]:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"classes": 10, "small_images": True, "dropout": 0.0}
    supernet = made(SPOSSupernetTrainer, spos(**sizes), args, mutator=OnePath)
    path = supernet.mutator.space.sample(supernet.mutator._rng())
    supernet.mutator.path = path
    child = made(RetrainTrainer, apply_fixed_architecture(spos(**sizes), path), args)
    batch = next(child.train_loader.batches(0))
    return lambda: supernet.train_step(batch), lambda: child.train_step(batch)


def logit_step(args: argparse.Namespace, space: str, kind: str) -> Step:
    torch.manual_seed(0)
    model: nn.Module = proxylessnas(classes=10, small_images=True)
    if space == "darts":
        model = darts(channels=16, layers=5)
    if kind == "two paths":
        trainer = made(ProxylessNasTrainer, model, args, split=0.5)
    else:
        trainer = made(BilevelTrainer, model, args, mutator="darts", split=0.5)
    batch = next(trainer.train_loader.batches(0))

    def textbook() -> None:
        trainer.mutator.reset()
        trainer.objective(batch)[0].backward()
        trainer.arch_optimizer.step()
        trainer.arch_optimizer.zero_grad()
        trainer.optimizer.zero_grad()

    return textbook if kind == "textbook mixture" else lambda: trainer.arch_step(batch, batch)


def peak_in_mib(args: argparse.Namespace, space: str, kind: str) -> float:
    return peak_of_own_process(
        "--peak-of", space, kind, "--device", args.device,
        "--batch-size", str(args.batch_size), "--size", str(args.size),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--paths", type=int, default=3, help="children that are compared")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(peak(logit_step(args, *args.peak_of), args.device))
        return
    measured = {"device": args.device, "pairs": args.pairs, "warm_ups": 2}
    print(f"{args.size} x {args.size} pixels, batch {args.batch_size}, {threads(args.device)}")
    ratios = []
    for seed in range(args.paths):
        path, child, ratio = compared(*single_path(args, seed), **measured)
        ratios.append(ratio)
        print(
            f"SPOS space, path {seed}: {path:.3f} s, its plain child {child:.3f} s: {ratio:.3f} x"
        )
    print(f"median over the paths {statistics.median(ratios):.3f} x")
    for space, candidates in (("proxylessnas", 7), ("darts", 8)):
        print(f"logits, {space} ({candidates} candidates)")
        for kind in ("textbook mixture", "lean mixture"):
            steps = (logit_step(args, space, kind), logit_step(args, space, "two paths"))
            mixture, two, ratio = compared(*steps, **measured)
            print(f"  {kind} {mixture:.3f} s, two paths {two:.3f} s: {ratio:.2f} x")
        memory = {kind: peak_in_mib(args, space, kind) for kind in KINDS}
        print("  peak memory in MiB: " + ", ".join(f"{k} {v:.0f}" for k, v in memory.items()))


if __name__ == "__main__":
    main()
