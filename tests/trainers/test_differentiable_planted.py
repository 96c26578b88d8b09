"""Every differentiable mutator finds the planted architecture."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.contracts.planted import planted_problem
from nas_plugin.mutators import mutators
from nas_plugin.trainers import DartsTrainer, accuracy

#: Mutator → what differs from its defaults, and the learning rate of its logits (None: its own).
SETTINGS: dict[str, tuple[dict[str, Any], float | None]] = {
    "data": ({}, 0.02),
    "didarts": ({}, 0.02),
    "drnas": ({}, 0.02),
    # Its weight of 10 is meant for 50 epochs: here it commits before the weights are trained.
    "fair_darts": ({"zero_one_weight": 1.0}, 0.02),
    "fbnet": ({}, 0.02),
    "gdas": ({}, 0.02),
    "reinmax": ({}, 0.02),
    "snas": ({}, 0.02),
    "xnas": ({}, None),
}


#: One candidate per block learns at a time, which takes more epochs.
EPOCHS = {"gdas": 20}


def is_solved(name: str, seed: int, **spoilt: Any) -> bool:
    options, arch_learning_rate = SETTINGS[name]
    problem = planted_problem(seed, **spoilt)
    trainer = DartsTrainer(
        problem.model,
        nn.functional.cross_entropy,
        accuracy,
        torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4),
        EPOCHS.get(name, 10),
        problem.train,
        problem.valid,
        batch_size=64,
        seed=seed,
        device="cpu",
        mutator=partial(mutators.get(name), seed=seed, **options),
        arch_learning_rate=arch_learning_rate,
    )
    trainer.train()
    return problem.is_solved_by(trainer.export())


@pytest.mark.parametrize("name", SETTINGS)
def test_a_seed_is_solved(name: str) -> None:
    assert is_solved(name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_ten_seeds_are_solved(name: str) -> None:
    assert all(is_solved(name, seed) for seed in range(10))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_seeds_that_are_drawn_now_are_solved(name: str) -> None:
    start = time.time_ns() % 10**9
    print(f"seeds {start} to {start + 9}")

    missed = [seed for seed in range(start, start + 10) if not is_solved(name, seed)]
    print(f"missed {missed}")
    # None of 20 was missed; at a miss rate of 0.03, five or more of ten once in 180,000 runs.
    assert len(missed) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", [{"shuffled_labels": True}, {"without_winner": True}])
@pytest.mark.parametrize("name", SETTINGS)
def test_spoilt_versions_are_not_solved(name: str, spoilt: dict[str, Any]) -> None:
    assert not any(is_solved(name, seed, **spoilt) for seed in range(2))
