"""A search with stops is resumed bit-identically wherever it was killed, and stays stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import DartsTrainer, accuracy
from nas_plugin.trainers.stops import EigenvalueStop, OperationStop, RankingStop, SkipStop
from tests.trainers.test_resume import KilledError, Log, assert_same, everything

STEPS = 20  # five of six epochs


def make(folder: Path, *, resume: bool = False, kill_at: int | None = None) -> DartsTrainer:
    seed_everything(3)
    layers = {"a": nn.Linear(6, 6), "b": nn.Sequential(nn.Linear(6, 6), nn.Tanh())}
    net = nn.Sequential(
        LayerChoice(layers, key="one"), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 2)
    )
    x, y = torch.randn(64, 6), torch.randint(0, 2, (64,))
    stops = [
        EigenvalueStop(window=1, lag=2, ratio=1e-12, prefix=""),
        SkipStop(skips=["a", "b"], limit=2),
        RankingStop(epochs=5, back=2),
        OperationStop(steps=3, threshold=0.5),
    ]
    return DartsTrainer(
        net, nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), 6, ArrayDataset(x, y),
        ArrayDataset(x, y), batch_size=8, seed=5, device="cpu", log_frequency=1, progress=False,
        arch_learning_rate=0.01, checkpoint_dir=folder, checkpoint_every=1, resume=resume,
        callbacks=[*stops, Log(kill_at)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DartsTrainer:
    trainer = make(tmp_path_factory.mktemp("whole"))
    trainer.train()
    assert trainer.step == STEPS and trainer.stopped is not None
    assert trainer.callbacks[3].frozen
    return trainer


@pytest.mark.parametrize("kill_at", [1, 4, 6, 11, 16, 19, 20])
def test_every_kill_point_resumes_bit_identically(
    tmp_path: Path, whole: DartsTrainer, kill_at: int
) -> None:
    with pytest.raises(KilledError):
        make(tmp_path, kill_at=kill_at).train()
    torch.manual_seed(999)
    trainer = make(tmp_path, resume=True)
    trainer.train()

    assert_same(everything(trainer), everything(whole))


def test_what_was_stopped_stays_stopped(tmp_path: Path, whole: DartsTrainer) -> None:
    make(tmp_path).train()
    again = make(tmp_path, resume=True)
    again.train()
    assert again.step == STEPS and again.stopped == whole.stopped
