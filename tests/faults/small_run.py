"""A search of a second, with all that a run writes, for tests that break it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.reporting.callbacks import TensorBoardCallback, run_callbacks
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import ArchitectureCheckpoint, Callback, DartsTrainer, accuracy


class At(Callback):
    """Does something once, after a step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_batch_end(self) -> None:
        if self.trainer.step == self.step:
            self.action()


def small_trainer(
    out: Path,
    *,
    callbacks: Sequence[Callback] = (),
    candidates: int = 2,
    tensorboard: bool = True,
    **options: Any,
) -> DartsTrainer:
    """Returns a search of 2 epochs of 4 steps that writes a checkpoint after each step."""
    seed_everything(3)
    net = nn.Sequential(LayerChoice([nn.Linear(4, 4) for _ in range(candidates)]), nn.Linear(4, 2))
    x, y = torch.randn(64, 4), torch.randint(0, 2, (64,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    common: dict[str, Any] = {
        "batch_size": 8, "device": "cpu", "log_frequency": 1, "checkpoint_every": 1,
        "checkpoint_dir": out / "checkpoints" / "search",
    }  # fmt: skip
    shown = run_callbacks(out, "search")
    if not tensorboard:
        shown = [c for c in shown if not isinstance(c, TensorBoardCallback)]
    return DartsTrainer(
        net, nn.functional.cross_entropy, accuracy, optimizer, 2, ArrayDataset(x, y),
        ArrayDataset(x, y),
        callbacks=[
            ArchitectureCheckpoint(out / "checkpoints"), *shown, *callbacks
        ],
        **{**common, **options},
    )  # fmt: skip
