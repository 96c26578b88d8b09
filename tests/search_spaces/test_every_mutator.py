"""Every mutator searches every space, or is refused by name."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import NasError
from nas_plugin.mutators import DifferentiableMutator, Mutator, XnasMutator, mutators
from nas_plugin.mutators.mutator import MIXES, POLICY
from nas_plugin.space.spaces import spaces
from nas_plugin.trainers import (
    BilevelTrainer,
    EnasTrainer,
    SearchTrainer,
    SinglePathTrainer,
    accuracy,
    reward_accuracy,
)
from tests.search_spaces.every_mutator import AT_REST, REFUSED, SPACES, samples

PAIRS = list(itertools.product(mutators, SPACES))
N, BATCH = 40, 8


def searched(name: str, space: str) -> Any:
    """Returns the search of a space by the trainer that the mutator is meant for."""
    kind = mutators.get(name)
    builder, sizes = SPACES[space]
    torch.manual_seed(0)
    model = kind.transform(builder)(**sizes)
    data = ArrayDataset(samples(space, N), torch.arange(N) % 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    common: dict[str, Any] = {
        "mutator": name, "batch_size": BATCH, "device": "cpu", "progress": False, "seed": 1,
    }  # fmt: skip
    loss = nn.functional.cross_entropy
    if MIXES in kind.gives:
        return BilevelTrainer(
            model, loss, accuracy, optimizer, 2, data, data, warmup_epochs=0, **common
        )
    if POLICY in kind.gives:
        return EnasTrainer(
            model, loss, accuracy, reward_accuracy, optimizer, 2, data, data, split=0.5,
            child_steps=1, mutator_steps=2, mutator_steps_aggregate=2, samples=2, **common,
        )  # fmt: skip
    return SinglePathTrainer(
        model, loss, accuracy, optimizer, 2, data, data, split=0.5, samples=2, **common
    )


def take_three_steps(trainer: SearchTrainer) -> None:
    trainer.start_epoch(0)
    batches = itertools.chain(trainer.batches(0, 0), trainer.batches(1, 0))
    for batch in itertools.islice(batches, 3):
        values = trainer.train_step(batch)
        assert all(torch.as_tensor(value).isfinite().all() for value in values.values())
        trainer.batch += 1
        trainer.step += 1


def reached(trainer: BilevelTrainer, mutator: DifferentiableMutator) -> list[tuple[Any, Any]]:
    """Returns where a gradient is due and where one came, for every table of logits."""
    # Where one is chosen of one there is nothing to learn, and whether a gradient comes is open.
    lone = (mutator.valid.sum(dim=1, keepdim=True) == 1) & ~mutator.independent
    due = {id(mutator.alphas): mutator.valid & ~lone}
    if isinstance(mutator, XnasMutator):
        # Its gradient is the derivative at the coefficient, and a zero gives nothing.
        for row, key in enumerate(mutator.rows):
            for column, candidate in enumerate(mutator.space[key].candidates):
                due[id(mutator.alphas)][row, column] &= candidate != "none"
    if mutator.betas is not None:
        widths = torch.tensor([len(mutator.space[key].candidates) for key in mutator.edge_rows])
        due[id(mutator.betas)] = torch.arange(int(widths.max())) < widths[:, None]
    came = {key: torch.zeros_like(mask) for key, mask in due.items()}
    batch = next(iter(trainer.batches(0, 0)))[0]
    for _ in range(60):
        grads = trainer.gradients(batch, trainer.alphas, terms=trainer.terms)[0]
        for alpha, grad in zip(trainer.alphas, grads, strict=True):
            assert grad is not None and bool(grad.isfinite().all())
            came[id(alpha)] |= (grad != 0) & ~lone if alpha is mutator.alphas else grad != 0
        if all(torch.equal(came[key], due[key]) for key in due):
            break
    return [(due[key], came[key]) for key in due]


def search(name: str, space: str) -> None:
    trainer = searched(name, space)
    mutator: Mutator = trainer.mutator
    before = {k: p.detach().clone() for k, p in mutator.named_parameters()}
    if isinstance(mutator, DifferentiableMutator):
        for due, came in reached(trainer, mutator):
            assert torch.equal(due, came), (due & ~came, came & ~due)
    take_three_steps(trainer)

    still = [k for k, p in mutator.named_parameters() if torch.equal(p, before[k])]
    assert still == list(AT_REST.get((name, space), ())[:1])
    architecture = trainer.export()
    assert mutator.space.architecture(architecture.to_json()) == architecture
    assert set(architecture) <= set(mutator.space)


@pytest.mark.parametrize(
    ("name", "space"),
    [
        pytest.param(n, s, id=f"{n}-{s}", marks=[pytest.mark.slow] if i % 11 else [])
        for i, (n, s) in enumerate(p for p in PAIRS if p not in REFUSED)
    ],
)
def test_a_search_steps_reaches_its_logits_and_exports(name: str, space: str) -> None:
    search(name, space)


@pytest.mark.parametrize("pair", REFUSED, ids="-".join)
def test_what_cannot_be_searched_is_refused_by_name(pair: tuple[str, str]) -> None:
    with pytest.raises(NasError, match=REFUSED[pair][1]):
        searched(*pair)


def test_every_registered_space_is_there_and_few_pairs_are_refused() -> None:
    assert set(spaces) <= set(SPACES)
    assert set(REFUSED) <= set(PAIRS) and len(REFUSED) <= 0.15 * len(PAIRS)
