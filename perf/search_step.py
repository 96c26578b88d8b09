"""Seconds and memory of a bilevel step, executors beside eager and a textbook step, in one run.

    python perf/search_step.py --space darts --batch-size 8 --out perf/results/darts_b8.json

The textbook step computes the same update in the plain way: images laid out plain, module by
module, `backward()` fills the gradients of weights and logits alike, and second order trains a deep
copy of the network. Steps are timed in turn and compared pair by pair in the seconds of the
process, so that others on the machine disturb little. Code from elsewhere runs in the same turns
with `--beside FILE`: a Python file with a function `made(batch_size, channels, unrolled)` that
returns such a step. Peak memory is that of a process of its own, above what it needs before its
first step.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import statistics
from pathlib import Path
from typing import Any

import torch
from paired import Step, machine, peak, peak_of_own_process, seconds, written
from torch import Tensor, nn

from nas_plugin.data import ArrayDataset
from nas_plugin.execution import executions
from nas_plugin.trainers import DartsTrainer, accuracy
from search_spaces.darts import darts
from search_spaces.nasbench201 import nasbench201

Batch = tuple[Tensor, Tensor]
SPACES = {"darts": darts, "nasbench201": nasbench201}


def make_trainer(args: argparse.Namespace, name: str, unrolled: bool) -> DartsTrainer:
    """Returns a trainer of the named execution; the textbook's lays images out plain."""
    torch.manual_seed(0)
    model = SPACES[args.space](channels=args.channels)
    plain = name == "textbook"
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4,
    )  # fmt: skip
    images = torch.randn(4 * args.batch_size, 3, 32, 32)
    data = ArrayDataset(images, torch.arange(len(images)) % 10)
    trainer = DartsTrainer(
        model, nn.functional.cross_entropy, accuracy, optimizer, 1, data, data,
        batch_size=args.batch_size, unrolled=unrolled, grad_clip=5.0, device=args.device,
        execution="eager" if plain else name, channels_last=False if plain else None,
        augment=None, eval_augment=None, progress=False,
    )  # fmt: skip
    if plain:
        for group in optimizer.param_groups:
            group["fused"] = None
    return trainer


def batches(args: argparse.Namespace, device: torch.device) -> tuple[Batch, Batch]:
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for _ in range(2):
        images = torch.randn(args.batch_size, 3, 32, 32, generator=generator)
        labels = torch.randint(0, 10, (args.batch_size,), generator=generator)
        drawn.append((images.to(device), labels.to(device)))
    return drawn[0], drawn[1]


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


def from_file(path: Path, args: argparse.Namespace, unrolled: bool) -> Step:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    step: Step = module.made(args.batch_size, args.channels, unrolled)
    return step


def made(args: argparse.Namespace, name: str, unrolled: bool) -> Step:
    if name.endswith(".py"):
        return from_file(Path(name), args, unrolled)
    trainer = make_trainer(args, name, unrolled)
    train, valid = batches(args, trainer.device)
    if name == "textbook":
        return textbook(trainer, train, valid)
    return lambda: trainer.train_step((train, valid))


def measured(args: argparse.Namespace, unrolled: bool) -> dict[str, Any]:
    """Returns, for every step, its median seconds, its ratios to the first, and its memory."""
    steps = {name: made(args, name, unrolled) for name in [*args.steps, *args.beside]}
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(args.pairs):
        for name in list(steps) if i % 2 == 0 else reversed(list(steps)):
            times[name].append(seconds(steps[name], args.device))
    first = times[args.steps[0]]
    found = {}
    for name, taken in times.items():
        ratios = [a / b for a, b in zip(first, taken, strict=True)]
        found[Path(name).stem] = {
            "seconds": round(statistics.median(taken), 4),
            "ratio": round(statistics.median(ratios), 2),
            "range": [round(min(ratios), 2), round(max(ratios), 2)],
        }
        if args.memory:
            found[Path(name).stem]["peak_mib"] = round(peak_in_mib(args, name, unrolled))
    return found


def peak_in_mib(args: argparse.Namespace, name: str, unrolled: bool) -> float:
    order = ["--unrolled"] if unrolled else []
    return peak_of_own_process(
        "--peak-of", name, "--space", args.space, "--batch-size", str(args.batch_size),
        "--channels", str(args.channels), "--device", args.device, *order,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["textbook", *(name for name in executions() if name != "auto")]
    parser.add_argument("--space", choices=sorted(SPACES), default="darts")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5, help="measured rounds, after one warm-up")
    parser.add_argument("--steps", nargs="+", choices=names, default=names, metavar="STEP",
                        help="the first is what the others are compared with")  # fmt: skip
    parser.add_argument("--beside", nargs="+", default=[], metavar="FILE",
                        help="Python files of other steps, compared in the same turns")  # fmt: skip
    parser.add_argument("--orders", nargs="+", choices=["first", "second"],
                        default=["first", "second"])  # fmt: skip
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="a data file to write")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--unrolled", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak_of:
        print(peak(made(args, args.peak_of, args.unrolled), args.device))
        return
    about = machine(args.device)
    print(f"{args.space}, C{args.channels}, batch {args.batch_size}, {about['device']}, "
          f"{about['processor']}, load {about['load']}")  # fmt: skip
    results = {}
    for order in args.orders:
        results[order] = measured(args, order == "second")
        for name, row in results[order].items():
            low, high = row["range"]
            memory = f"{row['peak_mib']:>8} MiB" if args.memory else ""
            print(f"{order:8}{name:10}{row['seconds']:9.3f} s {row['ratio']:6.2f}x "
                  f"[{low:.2f}, {high:.2f}]{memory}", flush=True)  # fmt: skip
    if args.out:
        written(args.out, args.device, {"pairs": args.pairs, "results": results})


if __name__ == "__main__":
    main()
