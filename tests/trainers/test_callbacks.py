"""Callbacks that a trainer calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as schedules
from torch.optim.lr_scheduler import LRScheduler

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.files import load_checkpoint, save_checkpoint
from nas_plugin.trainers import LRSchedulerCallback, RetrainTrainer, accuracy

SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], LRScheduler]] = {
    "step": lambda o: schedules.StepLR(o, 2),
    "several steps": lambda o: schedules.MultiStepLR(o, [2, 5]),
    "function": lambda o: schedules.LambdaLR(o, lambda n: 0.9**n),
    "one cycle": lambda o: schedules.OneCycleLR(o, 0.5, total_steps=20),
    "cyclic": lambda o: schedules.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "warm restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 3),
    "warm-up, then steps": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, total_iters=3), schedules.MultiStepLR(o, [2, 4])], [3]
    ),
}


def scheduled(make: Callable[[torch.optim.Optimizer], LRScheduler]) -> LRSchedulerCallback:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    return LRSchedulerCallback(make(optimizer), "batch")


def rates(callback: LRSchedulerCallback, steps: int) -> list[float]:
    optimizer = callback.scheduler.optimizer
    found = []
    for _ in range(steps):
        optimizer.step()
        callback.on_batch_end()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_goes_on_from_a_checkpoint(tmp_path: Path, name: str) -> None:
    unbroken = rates(scheduled(SCHEDULERS[name]), 9)

    broken, resumed = scheduled(SCHEDULERS[name]), scheduled(SCHEDULERS[name])
    first = rates(broken, 4)
    optimizer = broken.scheduler.optimizer.state_dict()
    save_checkpoint(tmp_path / "state", {"callback": broken.state_dict(), "optimizer": optimizer})
    state = load_checkpoint(tmp_path / "state")
    resumed.scheduler.optimizer.load_state_dict(state["optimizer"])
    resumed.load_state_dict(state["callback"])

    assert first + rates(resumed, 5) == unbroken


def test_a_scheduler_that_wants_figures_is_refused() -> None:
    with pytest.raises(OptionError, match="cannot step ReduceLROnPlateau"):
        scheduled(schedules.ReduceLROnPlateau)


def test_a_schedule_is_made_of_the_trainers_optimizer_once() -> None:
    data = ArrayDataset(torch.randn(16, 2), torch.arange(16) % 2)
    callback = LRSchedulerCallback(lambda optimizer: schedules.StepLR(optimizer, 1, gamma=0.5))
    trainer = RetrainTrainer(
        lambda: torch.nn.Linear(2, 2), torch.nn.functional.cross_entropy, accuracy,
        lambda params: torch.optim.SGD(params, lr=0.4), 2, data, data, batch_size=8, device="cpu",
        callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    callback.build(trainer)

    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    assert callback.scheduler.optimizer is trainer.optimizer
