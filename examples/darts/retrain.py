"""Trains a found cell from scratch.

    python examples/darts/retrain.py --data cifar10 --arc-checkpoint runs/darts/architecture.json

The file is one that search.py wrote, one of NNI's DARTS, or the name of a published cell, darts_v1
or darts_v2. Ends with the test accuracy of the epoch that validation chose, parameters and FLOPs. A
training that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from pathlib import Path

from nas_plugin.cli import guarded
from nas_plugin.scripts import add_retrain_flags, add_run_flags, add_size_flags, retrain
from search_spaces.darts import architecture_file, darts_retrain


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=600, batch_size=96, learning_rate=0.025, weight_decay=3e-4)
    add_retrain_flags(parser, darts_retrain, cutout=16)
    parser.add_argument("--drop-path-prob", type=float, default=0.2)
    add_size_flags(parser, darts_retrain)
    parser.set_defaults(arc_checkpoint="./checkpoints/epoch_0.json")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    if Path(args.arc_checkpoint).suffix == "":
        args.arc_checkpoint = architecture_file(args.arc_checkpoint)
    retrain(args, darts_retrain, nesterov=False, drop_path_prob=args.drop_path_prob)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(parse())))
