"""Trainers of sampled paths: what a step is, what is exported, that they resume."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import apply_fixed_architecture
from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError, TrainingError
from nas_plugin.mutators import EnasMutator
from nas_plugin.runtime import seed_everything
from nas_plugin.trainers import (
    Callback,
    EnasTrainer,
    LRSchedulerCallback,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SinglePathTrainer,
    SPOSSupernetTrainer,
    accuracy,
    reward_accuracy,
)

N, FEATURES = 64, 6


class Net(nn.Module):
    """Draws from the global generator (dropout) and keeps batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first = LayerChoice([nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.Tanh())])
        self.second = LayerChoice([nn.Linear(6, 6), nn.Identity(), nn.Linear(6, 6)])
        self.skip = InputChoice(n_candidates=2)
        self.rest = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 2))

    def forward(self, x: Tensor) -> Any:
        first = self.first(x)
        out = self.second(first)
        added = self.skip([x, first])
        return self.rest(out if added is None else out + added)


def data() -> ArrayDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, FEATURES, generator=generator)
    return ArrayDataset(x, (x[:, 0] > 0).long())


def make(kind: str, net: nn.Module | None = None, **options: Any) -> Any:
    seed_everything(3)
    net = Net() if net is None else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    callbacks = options.pop("callbacks", [])
    samples = options.pop("dataset", data())
    schedule = LRSchedulerCallback(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3))
    common: dict[str, Any] = {
        "batch_size": 8, "seed": 5, "device": "cpu", "callbacks": [schedule, *callbacks],
    }  # fmt: skip
    start = (net, nn.functional.cross_entropy, accuracy)
    rest = (optimizer, 2, samples, samples)
    special: dict[str, tuple[Any, dict[str, Any]]] = {
        "spos": (SPOSSupernetTrainer, {}),
        "fairnas": (SPOSSupernetTrainer, {"mutator": "fairnas"}),
        "random_nas": (RandomNasTrainer, {"samples": 5}),
        "proxyless": (ProxylessNasTrainer, {"split": 0.75, "arch_every": 2, "warmup_epochs": 1}),
        "full": (
            ProxylessNasTrainer,
            {"split": 0.5, "arch_every": 1, "mutator": lambda m: proxyless_full(m)},
        ),
        "enas": (
            EnasTrainer,
            {"split": 0.5, "mutator_steps": 2, "mutator_steps_aggregate": 3, "samples": 3},
        ),
    }
    cls, own = special[kind]
    if cls is EnasTrainer:
        start = (*start, reward_accuracy)  # type: ignore[assignment]
    return cls(*start, *rest, **{**common, **own, **options})


def proxyless_full(model: nn.Module) -> Any:
    from nas_plugin.mutators import ProxylessMutator

    return ProxylessMutator(model, variant="full", seed=5)


KINDS = ("spos", "fairnas", "random_nas", "proxyless", "full", "enas")


class KilledError(Exception):
    """What a kill is in one process."""


class Kill(Callback):
    def __init__(self, at: int) -> None:
        self.at = at

    def on_batch_end(self) -> None:
        if self.trainer.step == self.at:
            raise KilledError


def assert_same(a: Any, b: Any, path: str = "") -> None:
    if isinstance(a, Tensor):
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


@pytest.mark.parametrize("kind", KINDS)
def test_every_trainer_resumes_bit_identically(tmp_path: Path, kind: str) -> None:
    kept = {"checkpoint_every": 1, "callbacks": [Callback()]}
    whole = make(kind, checkpoint_dir=tmp_path / "whole", **kept)
    whole.train()
    expected = {k: v for k, v in whole.state_dict().items() if k != "elapsed"}
    for at in range(1, whole.step, 3):
        folder = tmp_path / str(at)
        with pytest.raises(KilledError):
            make(kind, checkpoint_dir=folder, checkpoint_every=1, callbacks=[Kill(at)]).train()
        torch.manual_seed(999)
        resumed = make(kind, checkpoint_dir=folder, resume=True, **kept)
        resumed.train()
        assert_same({k: v for k, v in resumed.state_dict().items() if k != "elapsed"}, expected)
        if whole.finds_architecture:
            assert resumed.export() == whole.export()


FINDING = [kind for kind in KINDS if kind not in ("spos", "fairnas")]


@pytest.mark.parametrize("kind", FINDING)
def test_every_trainer_exports_what_can_be_fixed(kind: str) -> None:
    trainer = make(kind)
    trainer.train()
    architecture = trainer.export()

    assert trainer.mutator.space.architecture(architecture.to_json()) == architecture
    child = apply_fixed_architecture(copy.deepcopy(trainer.model), architecture)
    assert child(torch.randn(4, FEATURES)).shape == (4, 2)


def test_a_single_path_step_is_the_childs_own_step_and_leaves_the_rest_alone() -> None:
    trainer = make("spos")
    # Momentum everywhere, so that a step with gradient zero would still move a weight.
    for w in trainer.weights:
        trainer.optimizer.state[w]["momentum_buffer"] = torch.ones_like(w)
    before = copy.deepcopy(trainer.model)
    batch = next(trainer.batches(0, 0))
    torch.manual_seed(7)
    with trainer.aside():
        trainer.mutator.reset()
        path = {k: d.active for k, d in trainer.mutator.binding.decisions.items()}
    trainer.train_step(batch)

    names = {k: trainer.mutator.space[k].candidates for k in path}
    spelled = {
        k: [names[k][i] for i in on]
        if trainer.mutator.space[k].kind == "input"
        else names[k][on[0]]
        for k, on in path.items()
    }
    child = apply_fixed_architecture(before, spelled)
    optimizer = torch.optim.SGD(child.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    for w in child.parameters():
        optimizer.state[w]["momentum_buffer"] = torch.ones_like(w)
    torch.manual_seed(7)
    nn.functional.cross_entropy(child.train()(batch[0]), batch[1]).backward()
    optimizer.step()
    after = apply_fixed_architecture(copy.deepcopy(trainer.model), spelled)
    for (name, a), b in zip(child.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    chosen = {f"{k}.{spelled[k]}" for k in ("first", "second")}
    fresh = make("spos").model.state_dict()
    for name, value in trainer.model.state_dict().items():
        if name.startswith(("first.", "second.")) and ".".join(name.split(".")[:2]) not in chosen:
            assert torch.equal(value, fresh[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_an_accumulated_batch_share_their_paths(kind: str) -> None:
    trained = []
    for parts in (1, 4):
        seed_everything(0)
        net = Net().double()
        net.rest = nn.Linear(6, 2, dtype=torch.float64)
        trainer = make(kind, net, accumulate=parts, dataset=ArrayDataset(*_double(data())))
        trainer.mutator.double()
        trainer.train()
        trained.append([*trainer.model.parameters(), *trainer.mutator.parameters()])

    for one, four in zip(*trained, strict=True):
        assert torch.allclose(one, four, rtol=0, atol=1e-10)


def _double(dataset: ArrayDataset) -> tuple[Tensor, Tensor]:
    return dataset.inputs.double(), dataset.targets


def test_a_fair_step_sums_the_gradients_of_its_paths() -> None:
    trainer = make("fairnas", Net().double())
    for module in trainer.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    batch = [t.double() if t.is_floating_point() else t for t in next(trainer.batches(0, 0))]
    twin = copy.deepcopy(trainer.model)
    totals = {n: torch.zeros_like(p) for n, p in twin.named_parameters()}
    with trainer.aside():
        for _ in range(trainer.mutator.paths_per_step):
            grads, _ = trainer.gradients(batch, trainer.weights)
            for total, grad in zip(totals.values(), grads, strict=True):
                total += 0 if grad is None else grad
    seen: list[Any] = []
    trainer.gradients.step = lambda _, __, grads, ___: seen.extend(grads)
    trainer.train_step(batch)

    for (name, total), grad in zip(totals.items(), seen, strict=True):
        assert grad is not None, f"{name} is in no path"
        assert torch.allclose(total, grad, atol=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
def test_validation_does_not_move_the_search(kind: str) -> None:
    trainer = make(kind)
    trainer.mutator.reset()
    trainer.mutator.after_arch_step()
    before = copy.deepcopy(trainer.mutator.get_extra_state())
    trainer.validate()

    assert_same(trainer.mutator.get_extra_state(), before)


def test_random_nas_exports_the_best_of_its_samples_each_held_fixed() -> None:
    trainer = make("random_nas", samples=200)
    trainer.train()
    calls: list[Any] = []
    use = trainer.mutator.use
    trainer.mutator.use = lambda a: (calls.append(a), use(a))  # type: ignore[func-returns-value]
    best = trainer.export()

    # 200 draws of 24 architectures meet them all; each is decided once for all its batches.
    assert len(calls) == len(set(calls)) == 24
    ranking = {a: trainer.measure(a)["accuracy"] for a in trainer.mutator.space.enumerate()}
    assert ranking[best] == max(ranking.values())
    calls.clear()
    assert trainer.export() == best and not calls


def test_measuring_leaves_the_running_statistics_alone() -> None:
    trainer = make("random_nas")
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.measure(trainer.mutator.export())

    assert_same(dict(trainer.model.state_dict()), dict(before))


class FixedReward:
    """Gives rewards from a list, whatever was sampled."""

    def __init__(self, rewards: list[float]) -> None:
        self.rewards = iter(rewards)

    def __call__(self, output: Tensor, target: Tensor) -> float:
        return next(self.rewards)


def test_the_controller_has_the_optimizer_of_the_authors() -> None:
    """Adam without momentum, https://github.com/melodyguan/enas, src/utils.py."""
    (group,) = make("enas").arch_optimizer.param_groups
    assert group["betas"] == (0.0, 0.999) and group["eps"] == 1e-3


def test_export_ranks_anew_after_more_training() -> None:
    trainer = make("random_nas")
    ranked = []
    trainer._best_of = lambda samples: ranked.append(trainer.step) or {}  # type: ignore
    for step in (0, 0, 3, 3):
        trainer.step = step
        trainer.export()
    assert ranked == [0, 3]


def test_a_reward_is_one_finite_number() -> None:
    trainer = make("enas")
    batch = next(iter(trainer.reward_loader.batches(0)))
    trainer.mutator.reset()
    for value in (float("nan"), float("inf")):
        trainer.reward_function = FixedReward([value])
        with pytest.raises(TrainingError, match=f"reward is {value}.*reward_function"):
            trainer.reward(batch)
    trainer.reward_function = lambda output, target: torch.ones(len(target))
    with pytest.raises(OptionError, match="one number per batch"):
        trainer.reward(batch)
    trainer.reward_function = lambda output, target: torch.full((1,), 0.5)
    assert trainer.reward(batch).shape == () and float(trainer.reward(batch)) == 0.5


def test_the_controller_descends_its_formula() -> None:
    trainer = make("enas", entropy_weight=0.3, skip_weight=0.7, baseline_decay=0.9)
    rewards = [0.5, 0.9, 0.1]
    trainer.reward_function = FixedReward(rewards)
    batches = list(itertools.islice(trainer.reward_loader.batches(0), 3))
    mutator: EnasMutator = trainer.mutator
    twin = copy.deepcopy(mutator)
    baseline, objective = 0.0, torch.zeros(())
    for reward in rewards:
        twin.reset()
        written = twin.written
        assert written is not None
        total = reward + 0.3 * written.entropy.item()
        baseline = 0.9 * baseline + 0.1 * total
        objective = objective - written.log_prob * (total - baseline) / 3
        objective = objective + 0.7 * written.skip_penalty / 3
    expected = torch.autograd.grad(objective, list(twin.parameters()), allow_unused=True)
    given: list[Tensor | None] = []
    trainer.arch_optimizer.step = lambda: given.extend(p.grad for p in mutator.parameters())

    values = trainer.controller_step(batches)

    assert trainer.baseline == pytest.approx(baseline)
    assert float(values["reward"]) == pytest.approx(0.5)
    for grad, truth in zip(given, expected, strict=True):
        assert (grad is None) == (truth is None)
        assert grad is None or torch.allclose(grad, truth, atol=1e-6)


def test_a_controller_step_moves_no_weight_and_a_child_step_no_controller() -> None:
    trainer = make("enas")
    steps = dict.fromkeys(kind for kind, _ in trainer.batches(0, 0))
    assert list(steps) == ["child", "controller"]
    for kind in steps:
        weights = copy.deepcopy(trainer.model.state_dict())
        controller = copy.deepcopy(list(trainer.mutator.parameters()))
        trainer.train_step(next(b for b in trainer.batches(0, 0) if b[0] == kind))
        moved = [not torch.equal(a, b) for a, b in zip(controller, trainer.mutator.parameters(),
                                                       strict=True)]  # fmt: skip
        changed = [not torch.equal(v, trainer.model.state_dict()[k]) for k, v in weights.items()]
        assert any(changed) == (kind == "child")
        assert any(moved) == (kind == "controller")


def test_rewards_come_from_the_other_part_in_a_new_order_every_pass() -> None:
    trainer = make("enas", child_steps=2, mutator_steps=4, mutator_steps_aggregate=4)
    seen = [batch[1] for kind, batch in trainer.batches(0, 0) for batch in
            (batch if kind == "controller" else [])]  # fmt: skip
    passes = len(trainer.reward_loader)
    orders = [torch.cat(seen[i : i + passes]).tolist() for i in range(0, len(seen), passes)]

    assert len(orders) == 4
    assert len({tuple(order) for order in orders}) == 4


def test_proxyless_steps_the_logits_after_the_warm_up_on_every_nth_batch() -> None:
    trainer = make("proxyless")
    due = [[arch is not None for _, arch in trainer.batches(epoch, 0)] for epoch in (0, 1)]

    assert due == [[False] * 6, [True, False] * 3]
    rest = [arch is not None for _, arch in trainer.batches(1, 3)]
    assert rest == [False, True, False]


def test_proxyless_moves_only_what_was_drawn() -> None:
    trainer = make("proxyless", warmup_epochs=0)
    alphas = trainer.alphas[0]
    for step, batch in enumerate(trainer.batches(0, 0)):
        before = alphas.detach().clone()
        trainer.train_step(batch)
        moved = (alphas.detach() != before).sum(1)
        if batch[1] is None:
            assert not moved.any(), step
        else:
            rows = dict(zip(trainer.mutator.rows, moved.tolist(), strict=True))
            assert rows["first"] == rows["second"] == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make("enas", mutator="random"), "gives a policy .*; RandomMutator .* fit: enas."),
        (lambda: make("spos").export(), "knows no best one. A second stage .*'spos'"),
        (lambda: make("enas", baseline_decay=1.0), "baseline_decay"),
        (
            lambda: make("proxyless", unrolled=True),
            "Trainer has no argument 'unrolled'",
        ),
        (lambda: make("proxyless", warmup_epochs=9), r"warmup_epochs must be in \[0, \d\)"),
        (lambda: make("proxyless", batch_size=33), r"33 samples, .* 48 \(weights\), 16 "),
        (lambda: make("random_nas", split=1.0), "between 0 and 1"),
        (lambda: make("random_nas", samples=0), "at least 1"),
        (lambda: make("random_nas", monitor="f1").train(), "not among what is measured"),
        (lambda: make("random_nas", monitor="most"), "Give mode='max' or mode='min'"),
        (lambda: make("spos", split=0.5), "belong together"),
        (
            lambda: make("spos", split=0.999, samples=1, batch_size=32),
            r"32 samples, .* 0 \(ranking",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build()


def test_a_single_path_trainer_takes_any_mutator_that_samples() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    trainer = SinglePathTrainer(
        net, nn.functional.cross_entropy, accuracy, optimizer, 1, data(), data(),
        mutator="enas", device="cpu", batch_size=16,
    )  # fmt: skip
    trainer.train()
    assert trainer.step == 4
