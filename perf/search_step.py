"""Seconds, memory and calls of one DARTS step, beside a textbook step, in one run.

    python perf/search_step.py --batch-size 8 --pairs 5

The textbook step computes the same update in the plain way: `backward()` fills the gradients of
weights and logits alike, and second order trains a deep copy of the network. Times are taken in
turn (lean, textbook, lean, …) and compared pair by pair. Peak memory is that of a process of its
own, above what it needs before its first step.
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

import torch
from paired import Step, compared, peak, peak_of_own_process, threads
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import DartsTrainer, accuracy
from search_spaces.darts import darts

Batch = tuple[Tensor, Tensor]


class CountCalls(TorchDispatchMode):
    """Counts the operations that reach a kernel, forward and backward."""

    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def make_trainer(args: argparse.Namespace, unrolled: bool) -> DartsTrainer:
    torch.manual_seed(0)
    model = darts(channels=args.channels, layers=args.layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    images = torch.randn(4 * args.batch_size, 3, 32, 32)
    data = ArrayDataset(images, torch.arange(len(images)) % 10)
    return DartsTrainer(
        model, nn.functional.cross_entropy, accuracy, optimizer, 1, data, data,
        batch_size=args.batch_size, unrolled=unrolled, grad_clip=5.0, device=args.device,
    )  # fmt: skip


def batches(args: argparse.Namespace, device: torch.device) -> tuple[Batch, Batch]:
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for _ in range(2):
        images = torch.randn(args.batch_size, 3, 32, 32, generator=generator)
        labels = torch.randint(0, 10, (args.batch_size,), generator=generator)
        drawn.append((images.to(device), labels.to(device)))
    return drawn[0], drawn[1]


def lean(trainer: DartsTrainer, train: Batch, valid: Batch) -> Step:
    return lambda: trainer.train_step((train, valid))


def textbook(trainer: DartsTrainer, train: Batch, valid: Batch) -> Step:
    """The same update by `backward()` everywhere and, for second order, by copies."""
    model, mutator, sgd, adam = (
        trainer.model, trainer.mutator, trainer.optimizer, trainer.arch_optimizer,
    )  # fmt: skip
    alphas = trainer.alphas[0]

    def backward(network: nn.Module, batch: Batch) -> None:
        mutator.reset()
        nn.functional.cross_entropy(network(batch[0]), batch[1]).backward()

    def unrolled_gradient() -> Tensor:
        group = sgd.param_groups[0]
        backward(model, train)
        twin = copy.deepcopy(model)
        state = {}
        for name, w in model.named_parameters():
            buffer = sgd.state[w].get("momentum_buffer", torch.zeros_like(w))
            moved = 0.9 * buffer + w.grad + group["weight_decay"] * w.data
            state[name] = w.data - group["lr"] * moved
        twin.load_state_dict({**twin.state_dict(), **state})
        mutator.bind(twin)
        alphas.grad = None
        twin.zero_grad()
        backward(twin, valid)
        direct, v = alphas.grad.clone(), [w.grad for w in twin.parameters()]
        mutator.unbind(twin)
        eps = 0.01 / torch.cat([g.flatten() for g in v]).norm()
        around = []
        for factor in (1.0, -2.0):
            for w, g in zip(model.parameters(), v, strict=True):
                w.data.add_(g, alpha=float(factor * eps))
            alphas.grad = None
            backward(model, train)
            around.append(alphas.grad.clone())
        for w, g in zip(model.parameters(), v, strict=True):
            w.data.add_(g, alpha=float(eps))
        return direct - group["lr"] * (around[0] - around[1]) / (2 * eps)

    def step() -> None:
        adam.zero_grad()
        if trainer.unrolled:
            alphas.grad = unrolled_gradient()
        else:
            backward(model, valid)
        adam.step()
        sgd.zero_grad()
        backward(model, train)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        sgd.step()

    return step


STEPS = {"lean": lean, "textbook": textbook}


def made(args: argparse.Namespace, name: str, unrolled: bool) -> Step:
    trainer = make_trainer(args, unrolled)
    return STEPS[name](trainer, *batches(args, trainer.device))


def peak_in_mib(args: argparse.Namespace, name: str, unrolled: bool) -> float:
    order = ["--unrolled"] if unrolled else []
    return peak_of_own_process(
        "--peak-of", name, "--batch-size", str(args.batch_size), "--channels", str(args.channels),
        "--layers", str(args.layers), "--device", args.device, *order,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5, help="measured pairs, after one warm-up")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak-of", choices=sorted(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--unrolled", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(peak(made(args, args.peak_of, args.unrolled), args.device))
        return
    print(f"DARTS space, C{args.channels}, {args.layers} cells, batch {args.batch_size}, "
          f"{threads(args.device)}")  # fmt: skip
    print(f"{'':16}{'lean s':>9}{'textbook s':>12}{'ratio':>8}{'lean MiB':>10}"
          f"{'textbook MiB':>14}{'lean calls':>12}{'textbook calls':>16}")  # fmt: skip
    for unrolled in (False, True):
        steps = {name: made(args, name, unrolled) for name in STEPS}
        calls = {}
        for name, step in steps.items():
            step()
            with CountCalls() as counter:
                step()
            calls[name] = counter.calls
        textbook_seconds, lean_seconds, ratio = compared(
            steps["textbook"], steps["lean"], args.device, pairs=args.pairs
        )
        memory = {name: peak_in_mib(args, name, unrolled) for name in STEPS}
        print(f"{'second order' if unrolled else 'first order':16}"
              f"{lean_seconds:9.2f}{textbook_seconds:12.2f}"
              f"{ratio:7.2f}x{memory['lean']:10.0f}{memory['textbook']:14.0f}"
              f"{calls['lean']:12,}{calls['textbook']:16,}")  # fmt: skip


if __name__ == "__main__":
    main()
