"""Trains a supernet one uniform path at a time: the first stage of SPOS, or of FairNAS.

    python examples/spos/supernet.py --data cifar10 --out runs/spos
    python examples/spos/evolution.py --supernet runs/spos/supernet.pt --out runs/spos

A part of the training images is held out for the second stage. Under --out come supernet.pt,
search.jsonl, settings.json and TensorBoard events. A training that was stopped continues with
--resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR

from nas_plugin.cli import guarded
from nas_plugin.errors import OptionError
from nas_plugin.mutators import FairNasMutator, Mutator, SposMutator
from nas_plugin.profiling import flops_table
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    held_out,
    image_settings,
    load_images,
    run_search,
    save_supernet,
    sizes_of,
    trainer_options,
)
from nas_plugin.trainers import SPOSSupernetTrainer
from search_spaces.spos import spos


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    # The paper's 0.5 at a batch of 1024, in proportion.
    add_run_flags(parser, epochs=120, batch_size=128, learning_rate=0.0625, weight_decay=4e-5,
                  label_smoothing=0.1)  # fmt: skip
    add_execution_flag(parser)
    add(
        "--valid-fraction",
        type=float,
        default=0.1,
        help="share of the training images that ranks paths",
    )
    add("--decay-all", action="store_true", help="weight decay on biases and batch norms too")
    add("--fair", action="store_true", help="strictly fair paths, as in FairNAS")
    add("--flops-window", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="draw only paths within these million FLOPs (two per multiply-add)")  # fmt: skip
    add_size_flags(parser, spos)
    return parser.parse_args(argv)


def mutator(model: nn.Module, args: argparse.Namespace, image: torch.Tensor) -> Mutator:
    if args.fair:
        if args.flops_window:
            raise OptionError("--fair deals all candidates alike; it takes no --flops-window.")
        return FairNasMutator(model, seed=args.seed)
    if args.flops_window is None:
        return SposMutator(model, seed=args.seed)
    low, high = (1e6 * bound for bound in args.flops_window)
    table = flops_table(model, image[None].float())
    return SposMutator(model, seed=args.seed, cost=table, window=(low, high))


def train(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    whole = load_images(args)
    data = held_out(whole, args.valid_fraction, args.seed)
    sizes = sizes_of(spos, args, whole.image, whole.classes)
    model = spos(**sizes)
    schedule = partial(LinearLR, start_factor=1.0, end_factor=1e-3, total_iters=args.epochs)
    options = trainer_options(
        args, data, model, "search", schedule=schedule, nesterov=False, decay_all=args.decay_all
    )
    trainer = SPOSSupernetTrainer(**options, mutator=mutator(model, args, whole.image))
    if run_search(trainer, args):
        about = {
            "name": args.data, "limit": args.limit, "seed": args.seed,
            "valid_fraction": args.valid_fraction, "image": list(whole.image.shape),
            "images": image_settings(args),
        }  # fmt: skip
        save_supernet(args.out / "supernet.pt", model, space="spos", sizes=sizes, data=about)
        print(f"supernet: {args.out / 'supernet.pt'}")


if __name__ == "__main__":
    sys.exit(guarded(lambda: train(parse())))
