"""Random search with weight sharing (RSPS), in any registered space for images.

    python examples/random_nas/search.py --space nasbench201 --data cifar10 --out runs/random

The training part is halved: one half trains uniform paths, the other ranks the samples at the end.
Under --out (by default the working folder) come architecture.json, search.jsonl, settings.json and
TensorBoard events. A search that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys

from nas_plugin import spaces
from nas_plugin.cli import guarded
from nas_plugin.runtime import seed_everything
from nas_plugin.scripts import (
    add_execution_flag,
    add_run_flags,
    add_size_flags,
    load_images,
    run_search,
    sizes_of,
    trainer_options,
)
from nas_plugin.trainers import RandomNasTrainer


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--space", default="nasbench201", help="name of a registered space")
    space = first.parse_known_args(argv)[0].space
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[first])
    add_run_flags(parser, epochs=100, batch_size=64, learning_rate=0.025, weight_decay=3e-4)
    add_execution_flag(parser)
    parser.add_argument(
        "--samples", type=int, default=100, help="architectures to rank; the best is returned"
    )
    add_size_flags(parser, spaces.get(space))
    return parser.parse_args(argv)


def search(args: argparse.Namespace) -> None:
    seed_everything(args.seed)
    data = load_images(args)
    builder = spaces.get(args.space)
    model = builder(**sizes_of(builder, args, data.image, data.classes))
    options = trainer_options(args, data, model, "search")
    run_search(RandomNasTrainer(**options, samples=args.samples), args)


if __name__ == "__main__":
    sys.exit(guarded(lambda: search(parse())))
