"""Trains an architecture of any registered space for images from scratch.

    python examples/random_nas/retrain.py --space nasbench201 \
        --arc-checkpoint runs/random/architecture.json

Ends with the test accuracy of the epoch that validation chose, parameters and FLOPs. A training
that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys

from nas_plugin import spaces
from nas_plugin.cli import guarded
from nas_plugin.scripts import add_retrain_flags, add_run_flags, add_size_flags, retrain


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--space", default="nasbench201", help="name of a registered space")
    space = first.parse_known_args(argv)[0].space
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[first])
    add_run_flags(parser, epochs=200, batch_size=128, learning_rate=0.1, weight_decay=5e-4)
    add_retrain_flags(parser, spaces.get(space))
    add_size_flags(parser, spaces.get(space))
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(guarded(lambda: retrain(args := parse(), spaces.get(args.space))))
