"""Trains a network that ProxylessNAS found from scratch.

    python examples/proxylessnas/retrain.py --arc-checkpoint runs/proxylessnas/architecture.json

Ends with the test accuracy of the epoch that validation chose, parameters and FLOPs. A training
that was stopped continues with --resume.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys

from nas_plugin.cli import guarded
from nas_plugin.scripts import add_retrain_flags, add_run_flags, add_size_flags, retrain
from search_spaces.proxylessnas import proxylessnas


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_flags(parser, epochs=300, batch_size=128, learning_rate=0.025, weight_decay=4e-5,
                  label_smoothing=0.1)  # fmt: skip
    add_retrain_flags(parser, proxylessnas)
    add_size_flags(parser, proxylessnas)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(guarded(lambda: retrain(parse(), proxylessnas)))
