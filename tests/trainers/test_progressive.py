"""DrNAS's progressive search: what is kept, and that everything goes on, worked out by hand."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from nas_plugin.choice import LayerChoice
from nas_plugin.contracts.planted import planted_problem
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import Callback, ProgressiveTrainer, accuracy
from search_spaces.nasbench201 import nasbench201
from tests.trainers.test_resume import KilledError, Log, assert_same, everything

EPOCHS = 2


def make(*callbacks: Callback, **options: Any) -> ProgressiveTrainer:
    seed_everything(3)
    data = ArrayDataset(torch.rand(16, 3, 4, 4), torch.arange(16) % 2)
    settings: dict[str, Any] = {
        "batch_size": 4, "device": "cpu", "progress": False, "warmup_epochs": 0,
        "arch_learning_rate": 0.1, "augment": None, "eval_augment": None,
        "scheduler": lambda o: CosineAnnealingLR(o, 2 * EPOCHS),
    }  # fmt: skip
    return ProgressiveTrainer(
        partial(nasbench201, channels=8, cells=1, classes=2, affine=False),
        nn.functional.cross_entropy, accuracy,
        lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9), EPOCHS, data, data,
        callbacks=callbacks, **{**settings, **options},
    )  # fmt: skip


class Around(Callback):
    """Copies everything at the end of the first stage and at the beginning of the second."""

    def on_epoch_end(self, epoch: int) -> None:
        if epoch == EPOCHS - 1:
            self.before = self.copied()

    def on_rebuild(self) -> None:
        self.after = self.copied()

    def copied(self) -> dict[str, Any]:
        t = self.trainer
        momenta = {n: t.optimizer.state[p].get("momentum_buffer") for n, p in
                   t.model.named_parameters()}  # fmt: skip
        model = t.model
        return {
            "blocks": {k: m.candidates for k, m in model.named_modules()
                       if isinstance(m, LayerChoice)},
            "model": copy.deepcopy(model.state_dict()), "momenta": copy.deepcopy(momenta),
            "alphas": t.mutator.alphas.detach().clone(), "status": t.mutator.status(),
            "adam": copy.deepcopy(t.arch_optimizer.state[t.mutator.alphas]),
            "rows": t.mutator.rows, "generator": t.mutator.generator.get_state(),
            "rate": t.optimizer.param_groups[0]["lr"], "last": t.scheduler.last_epoch,
        }  # fmt: skip


@pytest.fixture(scope="module")
def around() -> Around:
    watch = Around()
    make(watch).train()
    return watch


def test_the_three_most_probable_of_five_stay(around: Around) -> None:
    for path, left in around.after["blocks"].items():
        row = around.before["status"][path.split(".")[-1]]
        best = sorted(row, key=lambda name, row=row: -row[name])[:3]
        assert left == tuple(name for name in row if name in best)


def test_candidates_see_twice_the_channels_with_the_weights_they_had(around: Around) -> None:
    old, new = around.before["model"], around.after["model"]
    seen = 0
    for name, weight in new.items():
        if "edges" not in name:
            assert torch.equal(weight, old[name]), name
        elif name.endswith("1.weight"):
            n = old[name].shape[0]
            assert weight.shape[:2] == (2 * n, 2 * n)
            # Old outputs read all inputs; a channel's copies share its weight.
            sums = weight[:n].sum(dim=1)
            assert torch.allclose(sums, old[name].sum(dim=1), atol=1e-6)
            seen += 1
        elif name.endswith("running_mean"):
            assert torch.equal(weight[: len(old[name])], old[name])
            assert set(weight.tolist()) <= set(old[name].tolist())
    assert seen > 0


def test_optimizers_schedules_and_logits_go_on(around: Around) -> None:
    old, new = around.before, around.after
    assert new["rate"] == old["rate"] == pytest.approx(0.05) and new["last"] == EPOCHS
    assert torch.equal(new["generator"], old["generator"])
    for name, momentum in new["momenta"].items():
        before = old["momenta"][name]
        inner = momentum if "edges" not in name else momentum[: len(before), : before.shape[1]]
        assert torch.equal(inner, before), name
    paths = {path.split(".")[-1]: left for path, left in new["blocks"].items()}
    names = list(old["status"][old["rows"][0]])
    for row, key in enumerate(new["rows"]):
        columns = [names.index(name) for name in paths[key]]
        assert torch.equal(new["alphas"][row], old["alphas"][row, columns])
        for kind in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(new["adam"][kind][row], old["adam"][kind][row, columns])
    assert new["adam"]["step"] == old["adam"]["step"]


def test_the_rate_falls_over_all_stages() -> None:
    rates: list[float] = []

    class Rates(Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            rates.append(self.trainer.optimizer.param_groups[0]["lr"])

    make(Rates()).train()
    expected = [0.05 * (1 + torch.tensor(torch.pi * e / 4).cos().item()) for e in range(4)]
    assert rates == pytest.approx(expected)


def stored(folder: Path, *, resume: bool = False, kill_at: int | None = None) -> Any:
    return make(
        Log(kill_at), checkpoint_dir=folder, checkpoint_every=1, resume=resume, log_frequency=1
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    trainer = stored(tmp_path_factory.mktemp("whole"))
    trainer.train()
    assert trainer.step == 8 and trainer.stage == 1
    return trainer


@pytest.mark.parametrize("kill_at", [1, 4, 5, 7, 8])
def test_it_resumes_bit_identically_in_every_stage(
    tmp_path: Path, whole: Any, kill_at: int
) -> None:
    with pytest.raises(KilledError):
        stored(tmp_path, kill_at=kill_at).train()
    torch.manual_seed(999)
    trainer = stored(tmp_path, resume=True)
    trainer.train()
    assert_same(everything(trainer), everything(whole))


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_the_planted_architecture_is_found(seed: int) -> None:
    problem = planted_problem(seed)
    trainer = ProgressiveTrainer(
        lambda partial=1: copy.deepcopy(problem.model), nn.functional.cross_entropy, accuracy,
        lambda params: torch.optim.SGD(params, 0.1, 0.9, weight_decay=3e-4), 6, problem.train,
        problem.valid, partial=(1, 1), keep=(2,), batch_size=64, seed=seed, device="cpu",
        progress=False, arch_learning_rate=0.03,
    )  # fmt: skip
    trainer.train()
    assert problem.is_solved_by(trainer.export())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep": (3, 2)}, "keep one for each after"), ({"partial": (2, 4)}, "must fall")],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make(**options)
