"""Trains a found path of the SPOS space from scratch.

    python examples/spos/retrain.py --data cifar10 --arc-checkpoint runs/spos/architecture.json

Ends with the test accuracy of the epoch that validation chose, parameters and FLOPs. A training
that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial

from torch.optim.lr_scheduler import LinearLR

from nas_plugin.cli import guarded
from nas_plugin.scripts import add_retrain_flags, add_run_flags, add_size_flags, retrain
from search_spaces.spos import spos


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=240, batch_size=128, learning_rate=0.0625, weight_decay=4e-5,
                  label_smoothing=0.1)  # fmt: skip
    parser.add_argument(
        "--decay-all", action="store_true", help="weight decay on biases and batch norms too"
    )
    add_retrain_flags(parser, spos)
    add_size_flags(parser, spos)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    decay = partial(LinearLR, start_factor=1.0, end_factor=1e-3, total_iters=args.epochs)
    retrain(args, spos, decay, nesterov=False, decay_all=args.decay_all)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(parse())))
