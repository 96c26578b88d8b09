"""CDARTS: losses and gradients of both networks against autograd in float64; resume; planted."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.contracts.planted import planted_problem
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import CdartsTrainer
from search_spaces.cdarts import cdarts
from tests.trainers.test_resume import KilledError, Log, assert_same, everything

X = torch.randn(32, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (32,), generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Blocks in a row, and a head whose output is distilled while it trains."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            LayerChoice({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "id": nn.Identity()}, key="k")
            for _ in range(depth)
        )
        self.aux_head = nn.Linear(4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        for block in self.blocks:
            x = block(x).sin()
        out = self.head(x)
        return (out, self.aux_head(x) + out) if self.training else out


def make(*callbacks: Any, **options: Any) -> CdartsTrainer:
    seed_everything(3)
    data = ArrayDataset(X, Y)
    settings: dict[str, Any] = {
        "num_epochs": 4, "warmup_epochs": 1, "batch_size": 8, "device": "cpu", "progress": False,
        "alpha_lr": 0.1, "w_lr": 0.1, "nasnet_lr": 0.1, "regular_ratio": 1.0,
    }  # fmt: skip
    trainer = CdartsTrainer(
        Net(2).double(), Net(3).double(), nn.functional.cross_entropy, (data, data),
        callbacks=callbacks, **{**settings, **options},
    )  # fmt: skip
    trainer.mutator.double()
    with torch.no_grad():
        trainer.alphas[0].copy_(torch.tensor([[0.3, -0.2, 0.25]]))
    return trainer


def outputs(net: Net, mix: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    for block in net.blocks:
        a, b = block["a"], block["b"]
        x = (mix[0] * a(x) + mix[1] * b(x) + mix[2] * x).sin()
    out = net.head(x)
    return out, net.aux_head(x) + out


def terms_by_hand(
    trainer: CdartsTrainer, alphas: Tensor, batch: Any, kind: str = "kl"
) -> list[Tensor]:
    """Writes each term of the joint loss out; the large network runs candidate a."""
    x, y = batch
    s, s2 = outputs(trainer.model, alphas[0].softmax(0), x)
    t, t2 = outputs(trainer.model_large, torch.tensor([1.0, 0.0, 0.0]).double(), x)
    losses = (nn.functional.cross_entropy(s, y) + nn.functional.cross_entropy(t, y)) / 2
    p, q = (t2 / 2).softmax(1), (s2 / 2).softmax(1)
    if kind == "kl":
        apart = (p * (p.log() - q.log())).sum() / p.numel()
    else:
        gap = (s2 - t2).abs()
        apart = torch.where(gap < 1, 0.5 * gap**2, gap - 0.5).mean()
    return [losses, 2 * 2**2 * apart, 5 * (1 - 1 / 3) * alphas[0, 2].abs()]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", ["kl", "smoothl1"])
def test_losses_and_the_gradients_of_both_networks_are_those_of_the_formula(
    kind: str, accumulate: int
) -> None:
    trainer = make(interactive_type=kind, accumulate=accumulate)
    trainer.epoch = 2
    trainer.derived = trainer.mutator.space.architecture({"k": "a"})
    batch = (X[:8], Y[:8])
    grads, values = trainer.joint_gradient(batch)

    alphas = trainer.alphas[0].detach().clone().requires_grad_()
    terms = terms_by_hand(trainer, alphas, batch, kind)
    names = ("loss_cls", "loss_interactive", "loss_regular")
    for name, term in zip(names, terms, strict=True):
        assert abs(float(values[name]) - term.item()) < 1e-12, name
    free = [w for w in trainer.weights_large if w.requires_grad]
    wanted = torch.autograd.grad(sum(terms), [alphas, *free], allow_unused=True)
    found = [grads[0], *(g for g, w in zip(grads[1:], trainer.weights_large, strict=True)
                         if w.requires_grad)]  # fmt: skip
    assert len(free) < len(trainer.weights_large), "the distillation head is fixed"
    for a, b in zip(found, wanted, strict=True):
        # What the large network does not run has no gradient at all.
        assert b is not None and torch.allclose(torch.zeros_like(b) if a is None else a, b)


def test_without_the_interaction_the_gradient_of_the_logits_is_another() -> None:
    trainer = make()
    trainer.epoch = 2
    trainer.derived = trainer.mutator.space.architecture({"k": "a"})
    batch = (X[:8], Y[:8])
    alphas = trainer.alphas[0].detach().clone().requires_grad_()
    terms = terms_by_hand(trainer, alphas, batch)
    (without,) = torch.autograd.grad(terms[0] + terms[2], alphas)
    found = trainer.joint_gradient(batch)[0][0]
    assert float((found - without).abs().max()) > 1e-4


def test_the_small_network_descends_its_own_loss_alone() -> None:
    trainer = make()
    batch = (X[8:16], Y[8:16])
    grads, _ = trainer.gradients(batch, trainer.weights)
    s, _ = outputs(trainer.model, trainer.alphas[0].detach()[0].softmax(0), batch[0])
    free = [w for w in trainer.weights if w.requires_grad]
    wanted = torch.autograd.grad(nn.functional.cross_entropy(s, batch[1]), free)
    found = [g for g, w in zip(grads, trainer.weights, strict=True) if w.requires_grad]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, wanted, strict=True))


def test_each_phase_moves_what_it_should() -> None:
    moved: list[tuple[bool, bool, bool]] = []

    class Watch(Log):
        def state(self) -> list[list[Tensor]]:
            t = self.trainer
            groups = [t.weights, t.weights_large, t.alphas]
            return [[p.detach().clone() for p in group] for group in groups]

        def on_train_begin(self) -> None:
            self.before = self.state()

        def on_batch_end(self) -> None:
            now = self.state()
            pairs = zip(self.before, now, strict=True)
            moved.append(tuple(
                any(not torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in pairs
            ))  # fmt: skip
            self.before = now

    trainer = make(Watch(), num_epochs=2)
    trainer.train()
    # Four steps each: the small network alone, the large one alone, all of them.
    assert moved == [(True, False, False)] * 4 + [(False, True, False)] * 4 + [(True,) * 3] * 4


def test_the_architecture_of_the_large_network_stays_for_an_epoch() -> None:
    seen: dict[int, set[Any]] = {}

    class Watch(Log):
        def on_batch_end(self) -> None:
            t = self.trainer
            if t.derived is not None:
                active = t.mutator.final_binding.decisions["k"].active
                seen.setdefault(t.epoch, set()).add((t.derived["k"], active))

        def on_epoch_begin(self, epoch: int) -> None:
            with torch.no_grad():  # another one leads at the beginning of each epoch
                self.trainer.alphas[0][0, (epoch + 1) % 3] += 3.0

    make(Watch(), alpha_lr=1.0).train()
    assert sorted(seen) == [1, 2, 3]
    assert all(len(found) == 1 for found in seen.values())


def test_a_search_that_is_resumed_inside_an_epoch_derives_nothing_anew() -> None:
    trainer = make()
    trainer.epoch = 1
    trainer.start_epoch(1)
    assert trainer.derived is not None and trainer.derived["k"] == "a"
    with torch.no_grad():
        trainer.alphas[0][0, 1] += 3.0
    trainer.batch = 5
    trainer.start_epoch(1)
    assert trainer.derived["k"] == "a"


def test_the_regularisation_falls_to_nothing() -> None:
    trainer = make(num_epochs=12, warmup_epochs=2, regular_ratio=0.2)
    found = []
    for trainer.epoch in range(2, 6):
        found.append(trainer.regular_factor)
    assert found == pytest.approx([5.0, 2.5, 0.0, 0.0])


def test_heads_are_fixed_unless_asked() -> None:
    trainer = make()
    before = copy.deepcopy(trainer.model_large.aux_head.state_dict())
    trainer.train()
    assert_same(trainer.model_large.aux_head.state_dict(), before)
    free = make(fix_head=False)
    free.train()
    with pytest.raises(AssertionError):
        assert_same(free.model_large.aux_head.state_dict(), before)


def stored(folder: Path, *, resume: bool = False, kill_at: int | None = None) -> CdartsTrainer:
    return make(
        Log(kill_at), checkpoint_dir=folder, checkpoint_every=1, resume=resume, log_frequency=1,
        num_epochs=3,
    )  # fmt: skip


@pytest.mark.parametrize("kill_at", [2, 4, 6, 8, 10, 12, 17, 20])
def test_it_resumes_bit_identically_in_every_phase(tmp_path: Path, kill_at: int) -> None:
    whole = stored(tmp_path / "whole")
    whole.train()
    assert whole.step == 4 + 2 * 8
    with pytest.raises(KilledError):
        stored(tmp_path / "cut", kill_at=kill_at).train()
    torch.manual_seed(999)
    trainer = stored(tmp_path / "cut", resume=True)
    trainer.train()
    assert_same(everything(trainer), everything(whole))


def test_the_space_of_darts_with_shared_stem_and_heads() -> None:
    torch.manual_seed(0)
    small = cdarts(channels=2, layers=3, nodes=2, classes=2)
    large = cdarts(channels=2, layers=4, nodes=2, classes=2, shared=small)
    data = ArrayDataset(torch.rand(16, 3, 16, 16), torch.arange(16) % 2)
    trainer = CdartsTrainer(
        small, large, nn.functional.cross_entropy, data, dataset_valid=data, num_epochs=2,
        warmup_epochs=1, batch_size=4, device="cpu", progress=False, limit_batches=1,
    )  # fmt: skip
    names = {trainer.mutator.space[trainer.mutator.rows[r]].candidates[i]
             for r, i in trainer.regularised}  # fmt: skip
    assert names == {"skipconnect", "dilconv3x3", "dilconv5x5"}
    trainer.train()
    assert small.stem is large.stem and small.aux_head is large.aux_head
    assert trainer.mutator.space.architecture(trainer.export().to_json()) == trainer.export()
    with pytest.raises(OptionError, match="agree in their sizes"):
        cdarts(channels=4, layers=3, nodes=2, shared=small)


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_the_planted_architecture_is_found(seed: int) -> None:
    problem = planted_problem(seed)
    trainer = CdartsTrainer(
        problem.model, copy.deepcopy(problem.model), nn.functional.cross_entropy, problem.train,
        dataset_valid=problem.valid, num_epochs=9, warmup_epochs=1, batch_size=64, seed=seed,
        device="cpu", progress=False, alpha_lr=0.02, w_lr=0.1, nasnet_lr=0.1,
    )  # fmt: skip
    trainer.train()
    assert problem.is_solved_by(trainer.export())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interactive_type": "l2"}, "one of kl, smoothl1"),
        ({"loss_T": 0.0}, "must be positive"),
        ({"unrolled": True}, "defines its own steps"),
        ({"arch_learning_rate": 0.1}, "follows from alpha_lr"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make(**options)


def test_names_of_nni() -> None:
    data = ArrayDataset(X, Y)
    trainer = CdartsTrainer(
        model_small=Net(1).double(), model_large=Net(2).double(),
        criterion=nn.functional.cross_entropy, loaders=[data, data], epochs=3, steps_per_epoch=2,
        batch_size=8, device="cpu", progress=False,
    )  # fmt: skip
    assert trainer.num_epochs == 3 and trainer.warmup == 2
    assert trainer.steps_per_epoch == 2
