"""Every method of sampled paths finds the planted architecture; its spoilt versions do not."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.evaluation import Budget, SupernetEvaluator, search
from nas_plugin.strategies import SposEvolution
from nas_plugin.testing import PlantedProblem, planted_problem
from nas_plugin.trainers import (
    EnasTrainer,
    LRSchedulerCallback,
    ProxylessNasTrainer,
    RandomNasTrainer,
    SPOSSupernetTrainer,
    accuracy,
    reward_accuracy,
)

#: Evaluations of the second stage, of 20,480 architectures: chance finds the winner in one run of
#: a hundred.
SECOND_STAGE = 200
#: Choices of a method, where the default of four is not what it can be judged by: random search
#: has to try them all, and evolution far from all.
BLOCKS = {"random_nas": 3, "spos": 6, "fairnas": 6}
#: Of ten drawn seeds so many must be solved. SPOS missed 2 of 20, all others none: at a miss rate
#: of 0.1 five or more of ten are missed once in 600 runs, at 0.03 once in 180,000. Chance, which
#: solves one seed of a hundred, solves six of ten in fewer than one run of a thousand million.
DRAWN = 6
#: A seed on which the second stage ends beside the winner, as the card says.
MISSED = {("spos", 8)}


def is_solved(kind: str, seed: int, *, logit_lr: float | None = None, **spoilt: Any) -> bool:
    problem = planted_problem(seed, blocks=BLOCKS.get(kind, 4), **spoilt)
    epochs, lr = (10, 0.1) if kind == "proxyless" else (40, 0.02)
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    start = (problem.model, nn.functional.cross_entropy, accuracy)
    rest = (optimizer, epochs, problem.train, problem.valid)
    common: dict[str, Any] = {
        "batch_size": 64, "seed": seed, "device": "cpu",
        "callbacks": [LRSchedulerCallback(schedule)],
    }  # fmt: skip
    trainer: Any
    if kind == "proxyless":
        rate = 0.05 if logit_lr is None else logit_lr
        trainer = ProxylessNasTrainer(
            *start, *rest, arch_every=1, arch_learning_rate=rate, split=0.5, **common
        )
    elif kind == "random_nas":
        # 320 architectures: 2,000 draws leave one out once in 520 runs.
        trainer = RandomNasTrainer(*start, *rest, samples=2000, split=0.5, **common)
    elif kind in ("spos", "fairnas"):
        trainer = SPOSSupernetTrainer(*start, *rest, mutator=kind, **common)
        trainer.train()
        trainer.mutator.unbind(problem.model)
        return problem.is_solved_by(second_stage(problem, seed))
    else:
        rate = 0.005 if logit_lr is None else logit_lr
        trainer = EnasTrainer(
            *start, reward_accuracy, *rest, arch_learning_rate=rate, mutator_steps=8,
            mutator_steps_aggregate=5, samples=20, split=0.5, **common,
        )  # fmt: skip
    trainer.train()
    return problem.is_solved_by(trainer.export())


def second_stage(problem: PlantedProblem, seed: int) -> Any:
    evaluator = SupernetEvaluator(
        problem.model, problem.train, problem.valid, calibration_batches=2, batch_size=512
    )
    strategy = SposEvolution(
        evaluator.space,
        population=30,
        top=8,
        crossover=10,
        mutation=20,
        mutation_probability=0.25,
        seed=seed,
    )
    found = search(evaluator.space, strategy, evaluator, Budget(trials=SECOND_STAGE)).best
    assert found is not None
    return found.architecture


@pytest.mark.parametrize("seed", range(10))
def test_proxyless_solves_every_seed(seed: int) -> None:
    assert is_solved("proxyless", seed)


@pytest.mark.parametrize("kind", ["random_nas", "spos", "fairnas"])
def test_methods_of_uniform_paths_solve_a_seed(kind: str) -> None:
    assert is_solved(kind, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["random_nas", "enas", "spos", "fairnas"])
def test_slower_methods_solve_the_seeds(kind: str, seed: int) -> None:
    assert is_solved(kind, seed) or (kind, seed) in MISSED


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["proxyless", "random_nas", "enas", "spos", "fairnas"])
def test_seeds_that_are_drawn_now_are_solved(kind: str) -> None:
    start = time.time_ns() % 10**9
    print(f"seeds {start} to {start + 9}")

    missed = [seed for seed in range(start, start + 10) if not is_solved(kind, seed)]
    print(f"missed {missed}")
    assert len(missed) <= 10 - DRAWN


@pytest.mark.parametrize(
    "spoilt", [{"logit_lr": 0.0}, {"shuffled_labels": True}, {"without_winner": True}]
)
def test_spoilt_versions_of_proxyless_are_not_solved(spoilt: dict[str, Any]) -> None:
    assert not any(is_solved("proxyless", seed, **spoilt) for seed in range(3))


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", [{"shuffled_labels": True}, {"without_winner": True}])
@pytest.mark.parametrize("kind", ["random_nas", "enas", "spos", "fairnas"])
def test_spoilt_versions_of_slower_methods_are_not_solved(
    kind: str, spoilt: dict[str, Any]
) -> None:
    assert not any(is_solved(kind, seed, **spoilt) for seed in range(2))
