"""What a step of a method that draws one candidate per block costs, beside one of DARTS.

    python perf/hard_samples.py --batch-size 8 --pairs 3

Both train the DARTS space, first order, block by block (``execution="eager"``): a step of the
logits and one of the weights. Steps are taken in turn and compared pair by pair, in seconds of the
process.
"""

from __future__ import annotations

import argparse

import torch
from paired import Step, compared, threads
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import BilevelTrainer, accuracy
from search_spaces.darts import darts


def make_step(args: argparse.Namespace, mutator: str) -> Step:
    torch.manual_seed(0)
    model = darts(channels=args.channels, layers=args.layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    images = torch.randn(4 * args.batch_size, 3, 32, 32)
    data = ArrayDataset(images, torch.arange(len(images)) % 10)
    trainer = BilevelTrainer(
        model, nn.functional.cross_entropy, accuracy, optimizer, 1, data, data, mutator=mutator,
        batch_size=args.batch_size, grad_clip=5.0, device=args.device, execution="eager",
        progress=False,
    )  # fmt: skip
    trainer.start_epoch(0)
    batch = next(iter(trainer.batches(0, 0)))
    return lambda: trainer.train_step(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--channels", type=int, default=16)
    add("--layers", type=int, default=8)
    add("--batch-size", type=int, default=8)
    add("--pairs", type=int, default=5)
    add("--device", default="cpu")
    add("--mutators", nargs="+", default=["gdas", "reinmax", "data"])
    args = parser.parse_args()
    print(f"C{args.channels}, {args.layers} cells, batch {args.batch_size}, {threads(args.device)}")
    dense = make_step(args, "darts")
    for name in args.mutators:
        slow, fast, ratio = compared(dense, make_step(args, name), args.device, pairs=args.pairs)
        print(f"{name:8} {fast:6.2f} s a step, darts {slow:6.2f} s, ratio {ratio:.1f}", flush=True)


if __name__ == "__main__":
    main()
