"""A signal in a training: a checkpoint of the step that ran, and the code of the signal."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nas_plugin.files import load_latest
from nas_plugin.signals import Interrupted
from tests.faults.small_run import At, small_trainer

CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_checkpoint_holds_the_step_that_the_signal_came_in(
    tmp_path: Path, number: signal.Signals, step: int
) -> None:
    send = At(step, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted) as caught:
        # None is due between two epochs: what is there was written for the signal.
        small_trainer(tmp_path, callbacks=[send], checkpoint_every=None, tensorboard=False).train()

    assert caught.value.code == CODES[number]
    state = load_latest(tmp_path / "checkpoints" / "search")
    assert state is not None and state["position"][2] == step
    assert not list(tmp_path.rglob("*.lock"))
