"""A trial of the second stage of SPOS: validates one path of a trained supernet.

    nas-plugin experiment create --config examples/spos/nni.yml

By hand it validates the first candidates, or those of --arc-checkpoint.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys

from nas_plugin.cli import guarded
from nas_plugin.experiment import next_architecture, report_final
from nas_plugin.scripts import read_supernet, supernet_evaluator
from nas_plugin.strategies import Proposal


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--supernet", default="../../runs/spos/supernet.pt", help="file written by supernet.py")
    add("--arc-checkpoint", help="an architecture file, when run by hand")
    add("--data-dir", help="folder that holds the data set's files")
    add("--calibration-batches", type=int, default=200)
    add("--batch-size", type=int, default=64)
    add("--device", default="auto")
    return parser.parse_args(argv)


def trial(args: argparse.Namespace) -> None:
    evaluator = supernet_evaluator(
        read_supernet(args.supernet),
        data_dir=args.data_dir,
        calibration_batches=args.calibration_batches,
        batch_size=args.batch_size,
        device=args.device,
    )
    architecture = next_architecture(evaluator.space)
    report_final(dict(evaluator.evaluate(Proposal(0, architecture)).metrics))


if __name__ == "__main__":
    sys.exit(guarded(lambda: trial(parse())))
