"""Every selection finds the planted architecture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_plugin.contracts.planted import planted_problem
from nas_plugin.trainers import (
    DartsTrainer,
    PerturbationSelection,
    SampledSelection,
    Selection,
    accuracy,
    finalize,
)

SELECTIONS: dict[str, Selection] = {
    "perturbation": PerturbationSelection(epochs=1),
    "sampled": SampledSelection(samples=30),
}


@pytest.mark.parametrize("seed", [3, *(pytest.param(s, marks=pytest.mark.slow) for s in range(3))])
@pytest.mark.parametrize("name", SELECTIONS)
def test_the_planted_architecture_is_found(name: str, seed: int) -> None:
    problem = planted_problem(seed)
    optimizer = torch.optim.SGD(problem.model.parameters(), 0.1, 0.9, weight_decay=3e-4)
    trainer = DartsTrainer(
        problem.model, nn.functional.cross_entropy, accuracy, optimizer, 8, problem.train,
        problem.valid, batch_size=64, seed=seed, device="cpu", progress=False,
        arch_learning_rate=0.02,
    )  # fmt: skip
    trainer.train()
    assert problem.is_solved_by(finalize(trainer, SELECTIONS[name]))
