"""DARTS finds the planted architecture; its spoilt versions do not."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin import search_space
from nas_plugin.contracts.planted import PlantedProblem, planted_problem
from nas_plugin.trainers import DartsTrainer, accuracy

SPOILT: list[dict[str, Any]] = [{}, {"shuffled_labels": True}, {"without_winner": True}]


def drawn_seeds(n: int) -> list[int]:
    """Draws seeds that nobody has tuned anything to."""
    start = time.time_ns() % 10**9
    print(f"seeds {start} to {start + n - 1}")
    return list(range(start, start + n))


def found(
    problem: PlantedProblem, seed: int, *, arch_learning_rate: float = 0.02, same: bool = False
) -> dict[str, Any]:
    trainer = DartsTrainer(
        problem.model,
        nn.functional.cross_entropy,
        accuracy,
        torch.optim.SGD(problem.model.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4),
        10,
        (problem.train, problem.train) if same else problem.train,
        problem.valid,
        batch_size=64,
        seed=seed,
        device="cpu",
        arch_learning_rate=arch_learning_rate,
    )
    trainer.train()
    return dict(trainer.export())


def is_solved(seed: int, *, arch_learning_rate: float = 0.02, **spoilt: Any) -> bool:
    problem = planted_problem(seed, **spoilt)
    return problem.is_solved_by(found(problem, seed, arch_learning_rate=arch_learning_rate))


@pytest.mark.parametrize("seed", range(10))
def test_darts_solves_every_seed(seed: int) -> None:
    assert is_solved(seed)


@pytest.mark.slow
def test_darts_solves_seeds_that_are_drawn_now() -> None:
    seeds = drawn_seeds(10)

    missed = [seed for seed in seeds if not is_solved(seed)]
    print(f"missed {missed}")
    # None of 20 was missed; at a miss rate of 0.03, five or more of ten once in 180,000 runs.
    assert len(missed) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_logits_that_learn_from_the_weights_samples_fall_into_the_trap(seed: int) -> None:
    problem = planted_problem(seed)
    chosen = found(problem, seed, same=True)

    assert [key for key, value in chosen.items() if value != problem.winner[key]]
    assert "memory" in chosen.values()


@pytest.mark.parametrize("spoilt", SPOILT)
def test_every_version_can_be_passed_and_chance_hardly_does(spoilt: dict[str, Any]) -> None:
    problem = planted_problem(1, **spoilt)
    space = search_space(problem.model)

    assert problem.is_solved_by(space.architecture(problem.winner))
    assert space.size == 4**4 * 5 == 1280


@pytest.mark.parametrize(
    "spoilt", [{"arch_learning_rate": 0.0}, {"shuffled_labels": True}, {"without_winner": True}]
)
def test_spoilt_versions_are_not_solved(spoilt: dict[str, Any]) -> None:
    assert not any(is_solved(seed, **spoilt) for seed in range(3))


def test_winner_and_order_follow_from_the_seed() -> None:
    problems = [planted_problem(seed) for seed in range(10)]

    assert len({tuple(p.winner.values()) for p in problems}) > 5
    assert len({p.model.blocks[0].candidates for p in problems}) > 5
    assert len({p.winner["source"] for p in problems}) > 2
    assert planted_problem(3).winner == problems[3].winner
