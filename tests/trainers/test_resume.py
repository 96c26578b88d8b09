"""A search that is killed at any step and resumed equals one that was not."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.runtime import Interrupted, seed_everything
from nas_plugin.trainers import Callback, DartsTrainer, LRSchedulerCallback, accuracy

STEPS = 16
KILLS = 32


class KilledError(Exception):
    """What a kill is in one process."""


class Log(Callback):
    """Keeps records, as a log file does, and kills at one step."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.kill_at = kill_at

    def on_record(self, record: Mapping[str, Any]) -> None:
        self.records.append({k: v for k, v in record.items() if k != "time"})

    def on_batch_end(self) -> None:
        if self.trainer.step == self.kill_at:
            raise KilledError

    def state_dict(self) -> dict[str, Any]:
        return {"records": copy.deepcopy(self.records)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.records = copy.deepcopy(state["records"])


class Net(nn.Module):
    """Draws from the global generator (dropout) and keeps batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = LayerChoice([nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh())])
        self.rest = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 2))

    def forward(self, x: torch.Tensor) -> Any:
        return self.rest(self.choice(x))


def make_trainer(
    folder: Path, *, resume: bool = False, kill_at: int | None = None, unrolled: bool = False
) -> DartsTrainer:
    seed_everything(3)
    net = Net()
    x, y = torch.randn(64, 6), torch.randint(0, 2, (64,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    return DartsTrainer(
        net, nn.functional.cross_entropy, accuracy, optimizer, 4, ArrayDataset(x, y),
        ArrayDataset(x, y), batch_size=8, seed=5, device="cpu", log_frequency=1,
        arch_learning_rate=0.1, checkpoint_dir=folder, checkpoint_every=1, resume=resume,
        unrolled=unrolled, callbacks=[LRSchedulerCallback(schedule), Log(kill_at)],
    )  # fmt: skip


def everything(trainer: DartsTrainer) -> dict[str, Any]:
    state = trainer.state_dict()
    return {key: value for key, value in state.items() if key != "elapsed"}


def assert_same(a: Any, b: Any, path: str = "") -> None:
    """Compares nested states bit for bit."""
    assert type(a) is type(b), path
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, Mapping):
        assert list(a) == list(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}/{i}")
    else:
        assert a == b, path


def killed_and_resumed(folder: Path, kill_at: int, **options: Any) -> DartsTrainer:
    with pytest.raises(KilledError):
        make_trainer(folder, kill_at=kill_at, **options).train()
    torch.manual_seed(999)  # a new process starts from another random state
    trainer = make_trainer(folder, resume=True, **options)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, Any]]:
    found = {}
    for unrolled in (False, True):
        trainer = make_trainer(tmp_path_factory.mktemp("whole"), unrolled=unrolled)
        trainer.train()
        assert trainer.step == STEPS
        found[unrolled] = everything(trainer)
    return found


@pytest.mark.parametrize("kill_at", range(1, STEPS + 1))
@pytest.mark.parametrize("unrolled", [False, True])
def test_every_kill_point_resumes_bit_identically(
    tmp_path: Path, uninterrupted: dict[bool, dict[str, Any]], kill_at: int, unrolled: bool
) -> None:
    trainer = killed_and_resumed(tmp_path, kill_at, unrolled=unrolled)

    assert_same(everything(trainer), uninterrupted[unrolled])


BREAK: dict[str, Callable[[dict[str, Any]], None]] = {
    "sampler position": lambda s: s.update(position=[s["position"][0], 0, s["position"][2]]),
    "random state": lambda s: s["random"].update(torch=torch.get_rng_state().clone()),
    "batch statistics": lambda s: s["model"]["rest.0.running_mean"].zero_(),
    "weight optimizer": lambda s: [v.update(momentum_buffer=torch.zeros_like(v["momentum_buffer"]))
                                   for v in s["optimizer"]["state"].values()],
    "architecture optimizer": lambda s: [v["exp_avg"].zero_()
                                         for v in s["arch_optimizer"]["state"].values()],
    "scheduler": lambda s: s["callbacks"][0].update(last_epoch=0),
    "logits": lambda s: s["mutator"]["alphas"].zero_(),
    "meters": lambda s: s["meters"]["weights"].update(loss=99.0),
}  # fmt: skip


@pytest.mark.parametrize("ingredient", BREAK)
def test_each_ingredient_of_the_checkpoint_is_needed(
    tmp_path: Path,
    uninterrupted: dict[bool, dict[str, Any]],
    ingredient: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = DartsTrainer.load_state_dict

    def broken(self: DartsTrainer, state: Any) -> None:
        state = copy.deepcopy(dict(state))
        BREAK[ingredient](state)
        load(self, state)

    monkeypatch.setattr(DartsTrainer, "load_state_dict", broken)
    trainer = killed_and_resumed(tmp_path, 6)

    with pytest.raises(AssertionError):
        assert_same(everything(trainer), uninterrupted[False])


def test_a_run_in_the_folder_of_another_needs_resume(tmp_path: Path) -> None:
    make_trainer(tmp_path).train()

    with pytest.raises(OptionError, match="earlier run.*--resume"):
        make_trainer(tmp_path).train()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path).train()
    trainer = make_trainer(tmp_path, resume=True)
    trainer.model.rest[2] = nn.Linear(6, 3)

    with pytest.raises(CheckpointError, match="does not belong to this run"):
        trainer.train()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_exits(
    tmp_path: Path, uninterrupted: dict[bool, dict[str, Any]], number: int, code: int
) -> None:
    class Sender(Log):
        def on_batch_end(self) -> None:
            if self.trainer.step == 5:
                os.kill(os.getpid(), number)

    trainer = make_trainer(tmp_path)
    trainer.callbacks[1] = Sender()
    with pytest.raises(Interrupted) as stopped:
        trainer.train()
    assert stopped.value.code == code
    assert trainer.step == 5

    resumed = make_trainer(tmp_path, resume=True)
    resumed.train()

    assert_same(everything(resumed), uninterrupted[False])


@pytest.mark.processes
@pytest.mark.parametrize("kill_at", [1, 6, 11, 16])
def test_sigkill_of_a_real_process_resumes_bit_identically(
    tmp_path: Path, uninterrupted: dict[bool, dict[str, Any]], kill_at: int
) -> None:
    script = (
        "import os, signal, sys, importlib.util as u, torch\n"
        "torch.set_num_threads(1)\n"
        f"spec = u.spec_from_file_location('resume', {str(Path(__file__))!r})\n"
        "m = u.module_from_spec(spec); sys.modules['resume'] = m; spec.loader.exec_module(m)\n"
        f"t = m.make_trainer(m.Path({str(tmp_path)!r}))\n"
        f"t.callbacks[1].on_batch_end = lambda: t.step == {kill_at} and "
        "os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.train()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    trainer = make_trainer(tmp_path, resume=True)
    trainer.train()

    assert_same(everything(trainer), uninterrupted[False])


def test_what_differs_from_the_saved_run_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KilledError):
        make_trainer(tmp_path, kill_at=5).train()
    trainer = make_trainer(tmp_path, resume=True)
    trainer.num_epochs, trainer._rates = 5, [0.3]

    trainer.train()

    assert "resumed with epochs 5, saved with 4" in caplog.text
    assert "resumed with learning rates [0.3], saved with [0.1]" in caplog.text
    assert len(caplog.records) == 2


def test_an_earlier_run_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    make_trainer(tmp_path).train()

    with pytest.raises(OptionError, match="earlier run"):
        make_trainer(tmp_path)
