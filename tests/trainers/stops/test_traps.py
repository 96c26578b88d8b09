"""A search that collapses unless it is stopped.

The logits are trained on the samples of the weights, so after some epochs they prefer the
candidate that memorises them; before that they hold the planted architecture.
"""

from __future__ import annotations

from collections.abc import Callable as Function

import pytest
import torch
from torch import nn

from nas_plugin.contracts.planted import TRAP, planted_problem
from nas_plugin.trainers import Callback, DartsTrainer, accuracy
from nas_plugin.trainers.stops import EigenvalueStop, OperationStop, RankingStop, SkipStop

STOPS: dict[str, Function[[], Callback]] = {
    "eigenvalue": lambda: EigenvalueStop(window=3, lag=2, prefix=""),
    "skips": lambda: SkipStop(skips=[TRAP], limit=1, back=1),
    "ranking": lambda: RankingStop(epochs=2),
    "operations": OperationStop,
}


def outcome(seed: int, *callbacks: Callback) -> str:
    problem = planted_problem(seed)
    optimizer = torch.optim.SGD(problem.model.parameters(), 0.1, 0.9, weight_decay=3e-4)
    trainer = DartsTrainer(
        problem.model, nn.functional.cross_entropy, accuracy, optimizer, 8,
        (problem.train, problem.train), problem.valid, batch_size=64, seed=seed, device="cpu",
        arch_learning_rate=0.02, callbacks=callbacks, progress=False,
    )  # fmt: skip
    trainer.train()
    found = trainer.export()
    return "solved" if problem.is_solved_by(found) else "trap" if TRAP in found.values() else ""


@pytest.mark.parametrize("name", STOPS)
def test_a_stop_saves_a_search_that_collapses(name: str) -> None:
    assert outcome(3, STOPS[name]()) == "solved"


def test_without_a_stop_it_collapses() -> None:
    assert outcome(3) == "trap"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", *STOPS])
def test_five_seeds_are_saved(name: str) -> None:
    found = [outcome(seed, *([] if name == "none" else [STOPS[name]()])) for seed in range(5)]
    assert found == ["trap" if name == "none" else "solved"] * 5
