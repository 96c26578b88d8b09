"""What a search is composed of beside its mutator: each part touches only its own seam."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.choice.decision import Decision
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.mutators import Mutator
from nas_plugin.trainers import ArchSchedule, BilevelTrainer, Perturbation, Regularizer, accuracy

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
BATCH = (X, torch.arange(8) % 2)
OTHER = (X.flip(0) + 0.5, torch.arange(8) % 2)


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        LayerChoice([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())]),
        nn.BatchNorm1d(4),
        nn.Linear(4, 2),
    ).double()


def make_trainer(**options: Any) -> BilevelTrainer:
    net = make_net()
    data = ArrayDataset(X.repeat(4, 1), torch.arange(32) % 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    options = {"mutator": "darts", "num_epochs": 2, "batch_size": 8, "device": "cpu", **options}
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, optimizer, dataset_train=data,
        dataset_valid=data, **options,
    )  # fmt: skip
    trainer.mutator.double()
    return trainer


def mixed_loss(net: nn.Module, p: Tensor, batch: Any) -> Tensor:
    """Writes the mixed network out, without choice blocks."""
    x, y = batch
    choice, norm, head = net[0], net[1], net[2]
    h = p[0] * choice[0](x) + p[1] * choice[1](x)
    h = (h - h.mean(0)) / (h.var(0, unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias
    return nn.functional.cross_entropy(head(h), y)


class Ascent(Perturbation):
    """One step of gradient ascent on the mix: the attack of SDARTS without its projection."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, decisions: Mapping[str, Decision], loss: Any) -> Mapping[str, Decision]:
        self.count += 1
        mixes = {key: d.mix.clone().requires_grad_() for key, d in decisions.items()}  # type: ignore
        attempt = {k: Decision(mixes[k], d.active) for k, d in decisions.items()}
        grads = torch.autograd.grad(loss(attempt), list(mixes.values()))
        moved = [(m + 0.3 * g).detach() for m, g in zip(mixes.values(), grads, strict=True)]
        return {k: Decision(m, decisions[k].active) for k, m in zip(mixes, moved, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def test_a_perturbation_sees_the_batch_and_moves_only_the_mix_of_the_weight_step() -> None:
    trainer = make_trainer(perturbation=Ascent())
    twin = copy.deepcopy(trainer.model)
    before = {name: b.clone() for name, b in trainer.model.named_buffers()}
    alphas = trainer.alphas[0].detach().clone()
    p = alphas[0].softmax(0).requires_grad_()
    attacked = (p + 0.3 * torch.autograd.grad(mixed_loss(twin, p, BATCH), p)[0]).detach()
    wanted = torch.autograd.grad(mixed_loss(twin, attacked, BATCH), list(twin.parameters()))
    seen: list[Any] = []
    step = trainer.gradients.step
    trainer.gradients.step = lambda *args: (seen.extend(args[2]), step(*args))[1]  # type: ignore

    trainer.weight_step(BATCH)

    for found, truth in zip(seen, wanted, strict=True):
        assert torch.allclose(found, truth, rtol=0, atol=1e-12)
    assert torch.equal(trainer.alphas[0], alphas) and trainer.alphas[0].grad is None
    assert torch.equal(trainer.mutator.binding.decisions["0"].mix, p)
    assert trainer.model[1].num_batches_tracked == before["1.num_batches_tracked"] + 1


def test_a_perturbation_leaves_the_step_of_the_logits_alone() -> None:
    plain = make_trainer().arch_gradient(BATCH, OTHER)[0]
    perturbed = make_trainer(perturbation=Ascent()).arch_gradient(BATCH, OTHER)[0]

    assert torch.equal(plain, perturbed)


class FirstLogit(Regularizer):
    """Pulls at the first logit."""

    def __call__(self, mutator: Mutator) -> Tensor:
        (alphas,) = mutator.parameters()
        return 3.0 * alphas[0, 0]


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_regularizer_joins_the_logits_loss_only(unrolled: bool) -> None:
    plain = make_trainer(unrolled=unrolled)
    pulled = make_trainer(unrolled=unrolled, regularizers=[FirstLogit()])
    difference = pulled.arch_gradient(BATCH, OTHER)[0] - plain.arch_gradient(BATCH, OTHER)[0]

    expected = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(difference, expected, atol=1e-12)
    for a, b in zip(*(t.gradients(BATCH, t.weights)[0] for t in (plain, pulled)), strict=True):
        assert a is not None and b is not None and torch.equal(a, b)


class OddSteps(ArchSchedule):
    """Trains the logits on every odd step."""

    def is_due(self, epoch: int, batch: int) -> bool:
        return batch % 2 == 1


def test_a_schedule_says_which_steps_train_the_logits() -> None:
    trainer = make_trainer(schedule=OddSteps())
    due: list[tuple[int, int]] = []
    step = trainer.arch_step
    trainer.arch_step = lambda *b: (due.append((trainer.epoch, trainer.batch)), step(*b))  # type: ignore
    trainer.train()

    assert due == [(0, 1), (1, 1)]


def test_parts_are_saved_and_restored() -> None:
    trainer = make_trainer(perturbation=Ascent())
    trainer.train()
    state = copy.deepcopy(trainer.state_dict())
    other = make_trainer(perturbation=Ascent())
    other.load_state_dict(state)

    assert other.perturbation.count == 4  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match="saved with 3 parts and has 2"):
        make_trainer().load_state_dict(state)


def test_both_gradients_come_from_one_batch_in_one_pass() -> None:
    """What a trainer of a single level steps by."""
    trainer = make_trainer()
    twin, alphas = copy.deepcopy(trainer.model), trainer.alphas[0].detach().clone().requires_grad_()
    loss = mixed_loss(twin, alphas[0].softmax(0), BATCH)
    wanted = torch.autograd.grad(loss, [alphas, *twin.parameters()])

    found, _ = trainer.gradients(BATCH, [*trainer.alphas, *trainer.weights])

    for grad, truth in zip(found, wanted, strict=True):
        assert grad is not None and torch.allclose(grad, truth, rtol=0, atol=1e-12)


def test_callbacks_can_differentiate_what_the_last_step_was_given() -> None:
    """As a stop does that compares the weights' gradients on both halves."""
    trainer = make_trainer()
    trainer.train()
    train, valid = trainer.given
    twin = copy.deepcopy(trainer.model)
    p = trainer.alphas[0].detach()[0].softmax(0)

    for batch in (train, valid):
        found, _ = trainer.gradients(batch, trainer.weights)
        wanted = torch.autograd.grad(mixed_loss(twin, p, batch), list(twin.parameters()))
        for grad, truth in zip(found, wanted, strict=True):
            assert grad is not None and torch.allclose(grad, truth, rtol=0, atol=1e-12)


def test_a_schedule_and_a_start_epoch_are_not_both_given() -> None:
    with pytest.raises(OptionError, match="must be 0"):
        make_trainer(schedule=OddSteps(), warmup_epochs=1)
