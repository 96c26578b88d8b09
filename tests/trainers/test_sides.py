"""Which samples, statistics and modes each side of a search learns from and is judged by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import (
    DartsTrainer,
    EnasTrainer,
    RandomNasTrainer,
    RetrainTrainer,
    SPOSSupernetTrainer,
    accuracy,
    reward_accuracy,
)
from nas_plugin.trainers.gradients import micro_batches

N = 40


class Net(nn.Module):
    """Notes the numbers of the samples it is shown, their mode, and what needed a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = LayerChoice([nn.Linear(3, 3), nn.Linear(3, 3)], key="choice")
        self.norm, self.dropout, self.head = nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2)
        self.shown: list[tuple[set[int], bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(
            ({int(i) for i in x[:, 0]}, self.training, self.head.weight.requires_grad)
        )
        out = self.choice(torch.cat([x[:, :1] / N, x[:, 1:]], dim=1))
        logits: Tensor = self.head(self.dropout(self.norm(out)))
        return logits


def data() -> ArrayDataset:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.arange(N, dtype=torch.float32)[:, None]
    x = torch.cat([numbers, torch.randn(N, 2, generator=generator)], dim=1)
    return ArrayDataset(x, torch.arange(N) % 2)


def make(cls: Any, *, seed: int = 0, lr: float = 0.1, **options: Any) -> Any:
    torch.manual_seed(0)
    net = Net()
    start: tuple[Any, ...] = (net, nn.functional.cross_entropy, accuracy)
    if cls is EnasTrainer:
        start = (*start, reward_accuracy)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    return cls(
        *start, optimizer, 1, data(), data(), batch_size=5, seed=seed, device="cpu", **options
    )


def numbers(loader: Any) -> set[int]:
    return {int(i) for x, _ in loader.batches(0) for i in x[:, 0]}


def test_weights_and_logits_learn_from_their_own_halves() -> None:
    trainer = make(DartsTrainer)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for batch in trainer.batches(0, 0):
        trainer.model.shown.clear()
        trainer.train_step(batch)
        seen = {needs: shown for shown, _, needs in trainer.model.shown}
        # The pass of the logits needs no gradient of the weights, and the other one does.
        assert seen[False] == {int(i) for i in batch[1][0][:, 0]}
        assert seen[True] == {int(i) for i in batch[0][0][:, 0]}
        assert not seen[False] & seen[True]
    assert all(not torch.equal(before[n], p) for n, p in trainer.model.named_parameters())


def test_the_seed_decides_the_halves() -> None:
    halves = [frozenset(numbers(make(DartsTrainer, seed=s).train_loader)) for s in (0, 1, 0)]

    assert halves[0] == halves[2] != halves[1]
    assert len(halves[0]) == N // 2


def test_clipping_bounds_the_gradient_of_a_path() -> None:
    moved = []
    for grad_clip in (1e-3, 1e9):
        trainer = make(SPOSSupernetTrainer, lr=1.0, grad_clip=grad_clip)
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.weight_step(next(iter(trainer.batches(0, 0))))
        after = trainer.model.parameters()
        steps = [(a - b).detach().flatten() for a, b in zip(after, before, strict=True)]
        moved.append(float(torch.cat(steps).norm()))

    # With a learning rate of 1 the step is the gradient.
    assert moved[0] == pytest.approx(1e-3, rel=1e-3) and moved[1] > 0.05


def test_paths_are_ranked_on_the_part_that_no_weight_sees() -> None:
    trainer = make(RandomNasTrainer, samples=2)
    assert trainer.select_loader is not None

    assert not numbers(trainer.train_loader) & numbers(trainer.select_loader)
    trainer.model.shown.clear()
    trainer.measure({"choice": "1"})
    shown = set().union(*(samples for samples, _, _ in trainer.model.shown))
    assert shown == numbers(trainer.select_loader)


def test_paths_are_ranked_by_the_statistics_of_their_own_batches() -> None:
    trainer = make(RandomNasTrainer, samples=2)
    net = trainer.model
    with torch.no_grad():
        net.norm.running_mean.fill_(50.0)
        net.norm.running_var.fill_(1e-4)
    found = trainer.measure({"choice": "1"})
    losses = []
    for x, y in trainer.select_loader.batches(0):
        hidden = nn.functional.linear(
            torch.cat([x[:, :1] / N, x[:, 1:]], dim=1), net.choice[1].weight, net.choice[1].bias
        )
        normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
        output = nn.functional.linear(normed, net.head.weight, net.head.bias)
        losses.append(nn.functional.cross_entropy(output, y).item())

    assert found["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert (net.norm.running_mean == 50.0).all()


def test_rewards_come_from_samples_that_no_weight_sees() -> None:
    trainer = make(EnasTrainer, split=0.5, mutator_steps=2, mutator_steps_aggregate=2)

    assert not numbers(trainer.train_loader) & numbers(trainer.reward_loader)
    for kind, given in trainer.batches(0, 0):
        batches = given if kind == "controller" else [given]
        shown = {int(i) for x, _ in batches for i in x[:, 0]}
        wanted = trainer.reward_loader if kind == "controller" else trainer.train_loader
        assert shown <= numbers(wanted)


def test_rewards_are_measured_without_dropout_by_the_statistics_of_their_batch() -> None:
    trainer = make(EnasTrainer, split=0.5)
    net = trainer.model.train()
    with torch.no_grad():
        net.norm.running_mean.fill_(50.0)
        net.norm.running_var.fill_(1e-4)
    outputs: list[Tensor] = []
    trainer.reward_function = lambda output, target: outputs.append(output) or 0.5
    x, y = next(iter(trainer.reward_loader.batches(0)))
    trainer.mutator.use({"choice": "0"})
    for _ in range(2):
        assert float(trainer.reward((x, y))) == 0.5
    hidden = net.choice[0](torch.cat([x[:, :1] / N, x[:, 1:]], dim=1))
    normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    expected = nn.functional.linear(normed, net.head.weight, net.head.bias)

    for output in outputs:
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert net.training and (net.norm.running_mean == 50.0).all()


def test_parts_of_a_batch_weigh_by_their_samples() -> None:
    x, y = torch.arange(7.0)[:, None], torch.arange(7)
    parts = list(micro_batches((x, y), 3))

    assert [len(inputs) for (inputs, _), _ in parts] == [3, 3, 1]
    assert [share for _, share in parts] == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    assert torch.equal(torch.cat([targets for (_, targets), _ in parts]), y)


class Shifted(nn.Module):
    """Adds to its input twice, so that a second pass over one batch would see another batch."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(1.0) if self.inplace else x + 1.0


@pytest.mark.parametrize("shape", [(3,), (3, 4, 4)], ids=["rows", "images"])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (DartsTrainer, {"unrolled": True}),
        (DartsTrainer, {"perturbation": "adversarial"}),
        (DartsTrainer, {"accumulate": 2}),
        (SPOSSupernetTrainer, {"mutator": "fairnas"}),
        (RetrainTrainer, {}),
    ],
    ids=["unrolled", "perturbed", "accumulated", "paths", "retrained"],
)
def test_a_first_layer_that_works_in_place_leaves_the_batch_as_it_is(
    cls: Any, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    x = torch.randn(N, *shape, generator=torch.Generator().manual_seed(0))
    losses = []
    for inplace in (False, True):
        torch.manual_seed(0)
        layer: nn.Module = nn.Linear(3, 3)
        if cls is not RetrainTrainer:
            layer = LayerChoice([layer, nn.Sequential(nn.Linear(3, 3), nn.Tanh())], key="choice")
        middle = [] if len(shape) == 1 else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        net = nn.Sequential(Shifted(inplace=inplace), *middle, layer, nn.Linear(3, 2))
        train, valid = (ArrayDataset(x.clone(), torch.arange(N) % 2) for _ in range(2))
        trainer = cls(
            net, nn.functional.cross_entropy, accuracy,
            torch.optim.SGD(net.parameters(), lr=0.1), 1, train, valid, batch_size=5,
            device="cpu", progress=False, augment=None, eval_augment=None, **options,
        )  # fmt: skip
        for batch in trainer.batches(0, 0):
            losses.append(trainer.train_step(batch)["loss"])
            given = batch if isinstance(batch[0], Tensor) else batch[0]
            for row in given[0]:  # every sample is still one of the data set
                assert (x == row).flatten(1).all(1).any()
        losses.append(trainer.validate()["loss"])
        assert torch.equal(train.inputs, x) and torch.equal(valid.inputs, x)
    half = len(losses) // 2
    assert [float(a) for a in losses[:half]] == [float(b) for b in losses[half:]]


def test_every_sample_of_the_ranking_part_counts() -> None:
    trainer = make(RandomNasTrainer, split=0.45, samples=2)  # 22 of 40 samples rank, in fives
    trainer.model.shown.clear()
    trainer.measure({"choice": "0"})

    counted = [i for shown, _, _ in trainer.model.shown for i in shown]
    assert len(counted) == len(set(counted)) == 22
