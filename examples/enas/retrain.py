"""Trains a network that ENAS found from scratch.

    python examples/enas/retrain.py --search-for micro --arc-checkpoint runs/enas/architecture.json

Ends with the test accuracy of the epoch that validation chose, parameters and FLOPs. A training
that was stopped continues with --resume. Rates, epochs and sizes are those of the authors' scripts,
but for their 24 macro layers: --layers must be what was searched.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from functools import partial

from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from nas_plugin.cli import guarded
from nas_plugin.scripts import add_retrain_flags, add_run_flags, add_size_flags, retrain
from search_spaces.enas import enas_macro, enas_micro

BUILDERS = {"macro": enas_macro, "micro": enas_micro}
RUN = {"macro": {"epochs": 310, "batch_size": 100}, "micro": {"epochs": 630, "batch_size": 144}}
SIZES = {
    "macro": {"channels": 96, "dropout": 0.5},
    "micro": {"channels": 36, "layers": 15, "dropout": 0.2},
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--search-for", choices=list(BUILDERS), default="macro")
    kind = first.parse_known_args(argv)[0].search_for
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[first])
    add_run_flags(parser, learning_rate=0.05, weight_decay=4e-4, **RUN[kind])
    add_retrain_flags(parser, BUILDERS[kind])
    add_size_flags(parser, BUILDERS[kind], **SIZES[kind])
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    lowest = args.learning_rate / 50
    restarts = partial(CosineAnnealingWarmRestarts, T_0=10, T_mult=2, eta_min=lowest)
    retrain(args, BUILDERS[args.search_for], restarts)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(parse())))
