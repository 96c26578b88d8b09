"""What torchrun starts in the tests of ranks: a search whose ranks see different samples.

python rank_run.py OUT [--resume] [--pause SECONDS] [--limit SECONDS] [--stop-at STEP]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import torch

from nas_plugin.cli import guarded
from tests.faults.small_run import At, small_trainer

torch.set_num_threads(1)
parser = argparse.ArgumentParser()
parser.add_argument("out", type=Path)
parser.add_argument("--resume", action="store_true")
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--limit", type=float)
parser.add_argument("--stop-at", type=int, default=0)
args = parser.parse_args()


class Every(At):
    """Shows each rank's number and step, and takes its time."""

    def on_batch_end(self) -> None:
        rank = self.trainer.ranks.rank
        (args.out / f"rank_{rank}").write_text(f"{os.getpid()} {self.trainer.step}")
        time.sleep(args.pause)
        if self.trainer.step == args.stop_at and rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def run() -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    small_trainer(
        args.out, callbacks=[Every(0, None)], resume=args.resume, rank_timeout=args.limit,
        tensorboard=False, batch_size=4,
    ).train()  # fmt: skip


sys.exit(guarded(run))
