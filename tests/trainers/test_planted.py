"""DARTS finds the planted architecture; its spoilt versions do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.contracts.planted import planted_problem
from nas_plugin.trainers import DartsTrainer, accuracy


def is_solved(seed: int, *, arch_learning_rate: float = 0.02, **spoilt: Any) -> bool:
    problem = planted_problem(seed, **spoilt)
    trainer = DartsTrainer(
        problem.model,
        nn.functional.cross_entropy,
        accuracy,
        torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4),
        10,
        problem.train,
        problem.valid,
        batch_size=64,
        seed=seed,
        device="cpu",
        arch_learning_rate=arch_learning_rate,
    )
    trainer.train()
    return problem.is_solved_by(trainer.export())


@pytest.mark.parametrize("seed", range(10))
def test_darts_solves_every_seed(seed: int) -> None:
    assert is_solved(seed)


@pytest.mark.parametrize(
    "spoilt", [{"arch_learning_rate": 0.0}, {"shuffled_labels": True}, {"without_winner": True}]
)
def test_spoilt_versions_are_not_solved(spoilt: dict[str, Any]) -> None:
    assert not any(is_solved(seed, **spoilt) for seed in range(3))


def test_winner_and_order_follow_from_the_seed() -> None:
    problems = [planted_problem(seed) for seed in range(10)]

    assert len({tuple(p.winner.values()) for p in problems}) > 5
    assert len({p.model.blocks[0].candidates for p in problems}) > 5
    assert planted_problem(3).winner == problems[3].winner
