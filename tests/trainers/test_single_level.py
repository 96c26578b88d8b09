"""Single level: one pass, both gradients, one batch; nothing is held out for the logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.contracts.planted import planted_problem
from nas_plugin.data import ArrayDataset
from nas_plugin.mutators import DidartsMutator
from nas_plugin.trainers import SingleLevelTrainer, accuracy

X = torch.randn(32, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(32) % 2


def make_trainer(**options: Any) -> SingleLevelTrainer:
    torch.manual_seed(0)
    net = nn.Sequential(LayerChoice([nn.Linear(3, 2), nn.Sequential(nn.Tanh(), nn.Linear(3, 2))]))
    data = ArrayDataset(X, Y)
    options = {"mutator": "darts", "batch_size": 8, **options}
    trainer = SingleLevelTrainer(
        net.double(), nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(net.parameters(), lr=0.1), 4, data, data, device="cpu", progress=False,
        **options,
    )  # fmt: skip
    trainer.mutator.double()
    trainer.start_epoch(0)
    return trainer


def test_a_step_takes_both_gradients_of_one_loss_at_the_same_point() -> None:
    trainer = make_trainer(
        arch_optimizer=None, arch_learning_rate=0.01, arch_betas=(0.0, 0.0), arch_weight_decay=0.0
    )
    net: Any = trainer.model
    alphas, weights = trainer.alphas[0], trainer.weights
    batch = (X[:8], Y[:8])
    p = alphas.softmax(dim=1)[0]
    out = p[0] * net[0][0](batch[0]) + p[1] * net[0][1](batch[0])
    wanted = torch.autograd.grad(nn.functional.cross_entropy(out, batch[1]), [alphas, *weights])
    before = [t.detach().clone() for t in (alphas, *weights)]
    trainer.train_step(batch)

    # Adam of no memory steps by the sign.
    assert torch.allclose(alphas, before[0] - 0.01 * wanted[0].sign(), atol=1e-7)
    for w, old, grad in zip(weights, before[1:], wanted[1:], strict=True):
        assert torch.allclose(w, old - 0.1 * grad, rtol=0, atol=1e-14)


def test_the_whole_training_set_is_one_epoch() -> None:
    assert make_trainer().steps_per_epoch == 4


def test_warm_up_epochs_leave_the_logits_alone() -> None:
    trainer = make_trainer(warmup_epochs=2)
    alphas = trainer.alphas[0].detach().clone()
    weights = trainer.weights[0].detach().clone()
    trainer.train_step((X[:8], Y[:8]))
    assert torch.equal(trainer.alphas[0], alphas)
    assert not torch.equal(trainer.weights[0], weights)
    trainer.epoch = 2
    trainer.train_step((X[:8], Y[:8]))
    assert not torch.equal(trainer.alphas[0], alphas)


@pytest.mark.parametrize("seed", range(2))
def test_didarts_finds_the_planted_architecture_on_one_level(seed: int) -> None:
    # On one level logits learn from the weights' samples, so they would fall into the trap.
    problem = planted_problem(seed, trap=False)
    trainer = SingleLevelTrainer(
        problem.model, nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4), 6,
        problem.train, problem.valid, batch_size=64, seed=seed, device="cpu", progress=False,
        mutator=DidartsMutator, arch_learning_rate=0.02,
    )  # fmt: skip
    trainer.train()
    assert problem.is_solved_by(trainer.export())
