"""DARTS falls into the planted traps; parts that are meant to resist them escape."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin import apply_fixed_architecture
from nas_plugin.contracts.traps import trap
from nas_plugin.errors import OptionError
from nas_plugin.mutators import mutators
from nas_plugin.trainers import BilevelTrainer, accuracy
from nas_plugin.trainers.regularizers import regularizers

#: Trap, method → whether at least eight of ten seeds escape; else at least eight fall in.
CASES = {
    ("collapse", "darts"): False,
    ("collapse", "auxiliary_skip"): True,
    ("collapse", "fair_darts"): True,
    ("competition", "darts"): False,
    ("competition", "fair_darts"): True,
}
OPTIONS: dict[str, dict[str, Any]] = {"fair_darts": {"zero_one_weight": 1.0}}


def is_escaped(name: str, method: str, seed: int) -> bool:
    problem = trap(name, seed)
    parts: list[Any] = []
    if method in regularizers:
        sample = problem.train.inputs[:2]
        regularizers.get(method).prepare(problem.model, sample)
        parts = [regularizers.get(method).made_for(problem.model, sample)]
    mutator = mutators.get(method if method in mutators else "darts")
    trainer = BilevelTrainer(
        problem.model, nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(problem.model.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4), 15,
        problem.train, problem.valid, batch_size=64, seed=seed, device="cpu", progress=False,
        mutator=partial(mutator, seed=seed, **OPTIONS.get(method, {})), arch_learning_rate=0.02,
        regularizers=parts,
    )  # fmt: skip
    trainer.train()
    return problem.is_escaped_by(trainer.export())


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize(("name", "method"), CASES)
def test_two_seeds_fall_in_or_escape(name: str, method: str, seed: int) -> None:
    assert is_escaped(name, method, seed) is CASES[name, method]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), CASES)
def test_eight_of_ten_seeds_fall_in_or_escape(name: str, method: str) -> None:
    escaped = [is_escaped(name, method, seed) for seed in range(10)]

    assert escaped.count(CASES[name, method]) >= 8


def trained_accuracy(name: str, choices: list[str]) -> float:
    """Trains one architecture by itself, by plain torch."""
    problem = trap(name, 0)
    chosen = {f"block{i}": choice for i, choice in enumerate(choices)}
    model = apply_fixed_architecture(problem.model, chosen)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4)
    generator = torch.Generator().manual_seed(0)
    x, y = problem.train.inputs, problem.train.targets
    for _ in range(15):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        right = model(problem.valid.inputs).argmax(dim=1) == problem.valid.targets
    return float(right.double().mean())


@pytest.mark.parametrize(
    ("name", "good"),
    [("collapse", ["relu", "skip", "relu", "skip"]), ("competition", ["relu"] * 4)],
)
def test_what_the_traps_hide_is_better_by_itself(name: str, good: list[str]) -> None:
    assert trained_accuracy(name, good) > trained_accuracy(name, ["skip"] * 4) + 0.04


def test_a_trap_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="A trap is one of collapse, competition, got 'pit'"):
        trap("pit", 0)
