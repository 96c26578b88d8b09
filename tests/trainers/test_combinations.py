"""Parts combine freely: three steps, a bit-identical resume, a legal architecture, gradients."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.mutators import DifferentiableMutator, Mutator, XnasMutator, mutators
from nas_plugin.operations import add_auxiliary_skips
from nas_plugin.profiling import params_table
from nas_plugin.space.spaces import spaces
from nas_plugin.testing import smooth_net
from nas_plugin.trainers import (
    ArchTrainer,
    AuxiliarySkip,
    BilevelTrainer,
    ExpectedCost,
    SingleLevelTrainer,
    accuracy,
)
from tests.trainers.combinations import AXES, REFUSED, ROWS

X = torch.randn(32, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 3
Options = Mapping[str, str]


def mutator_of(name: str) -> Callable[[nn.Module], Mutator]:
    def made(model: nn.Module) -> Mutator:
        options: dict[str, Any] = {"partial": 2} if name == "pc_darts" else {}
        mutator: Mutator = mutators.get(name)(model, seed=3, **options).double()
        return mutator

    return made


def make(row: Options, batch_size: int = 4) -> ArchTrainer:
    """Returns the search that a line of the table means."""
    torch.manual_seed(0)
    model = smooth_net(channels=4, partial=int(row["partial"][0])).double()
    x = X[:1]
    regularizers: list[Any] = []
    if row["regularizer"] == "auxiliary":
        add_auxiliary_skips(model, x)
        regularizers = [AuxiliarySkip()]
    elif row["regularizer"] != "none":
        table = params_table(model, x)
        regularizers = [ExpectedCost(table, **{row["regularizer"]: 0.01})]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer: Any = SingleLevelTrainer if row["trainer"] == "single_level" else BilevelTrainer
    order: dict[str, Any] = {"unrolled": True} if row["trainer"] in ("unrolled", "exact") else {}
    if row["trainer"] == "exact":
        order["hessian"] = "exact"
    data = ArrayDataset(X, Y)
    made: ArchTrainer = trainer(
        model, nn.functional.cross_entropy, accuracy, optimizer, 2, data, data,
        mutator=mutator_of(row["mutator"]), batch_size=batch_size, device="cpu", progress=False,
        perturbation=None if row["perturbation"] == "none" else row["perturbation"],
        edge_normalisation=row["partial"].endswith("betas"), regularizers=regularizers,
        execution=row["execution"], warmup_epochs=0, seed=5, **order,
    )  # fmt: skip
    return made


def steps(trainer: ArchTrainer, start: int, stop: int) -> None:
    trainer.start_epoch(0)
    for batch in itertools.islice(trainer.batches(0, start), stop - start):
        values = trainer.train_step(batch)
        assert torch.as_tensor(values["loss"]).isfinite()
        trainer.batch += 1
        trainer.step += 1


def tensors(state: Any) -> list[Any]:
    if isinstance(state, Mapping):
        return [t for key in sorted(state, key=str) for t in tensors(state[key])]
    if isinstance(state, (list, tuple)):
        return [t for value in state for t in tensors(value)]
    return [state]


def same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


#: A fourth of the table in every run of the suite; all of it among the slow tests.
SEARCHES = [
    pytest.param(row, id="-".join(row.values()), marks=[pytest.mark.slow] if i % 4 else [])
    for i, row in enumerate(ROWS)
]


@pytest.mark.parametrize("row", SEARCHES)
def test_a_combination_steps_resumes_exports_and_reaches_its_logits(row: Options) -> None:
    through, stopped, resumed = make(row), make(row), make(row)
    before = [alpha.detach().clone() for alpha in through.alphas]
    steps(through, 0, 3)
    steps(stopped, 0, 2)
    buffer = io.BytesIO()
    torch.save(stopped.state_dict(), buffer)
    buffer.seek(0)
    resumed.load_state_dict(torch.load(buffer, weights_only=False))
    steps(resumed, 2, 3)

    for name in ("model", "optimizer", "mutator", "arch_optimizer", "parts", "position"):
        a, b = tensors(through.state_dict()[name]), tensors(resumed.state_dict()[name])
        assert len(a) == len(b) and all(map(same, a, b)), name
    assert any(not torch.equal(a, b) for a, b in zip(before, through.alphas, strict=True))

    architecture = through.export()
    assert through.mutator.space.architecture(architecture.to_json()) == architecture
    reaches_every_logit(make(row))


def reaches_every_logit(trainer: ArchTrainer) -> None:
    """A step of the weights leaves logits alone; the logits' gradient is 0 at padding only."""
    trainer.start_epoch(0)
    batch = (X[:8], Y[:8])
    trainer.gradients(batch, trainer.weights, perturbation=trainer.perturbation)
    assert all(alpha.grad is None for alpha in trainer.alphas)
    mutator = trainer.mutator
    assert isinstance(mutator, DifferentiableMutator)
    real = mutator.valid.clone()
    if isinstance(mutator, XnasMutator):
        # Its gradient is the derivative at the coefficient, and ``none`` gives nothing.
        real[:, 0] = False
    wanted = {id(mutator.alphas): real}
    if mutator.betas is not None:
        widths = [len(mutator.space[key].candidates) for key in mutator.edge_rows]
        wanted[id(mutator.betas)] = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    assert set(wanted) == set(map(id, trainer.alphas))
    seen = [torch.zeros_like(alpha, dtype=torch.bool) for alpha in trainer.alphas]
    for _ in range(40):
        grads = trainer.gradients(batch, trainer.alphas, terms=trainer.terms)[0]
        for mask, grad in zip(seen, grads, strict=True):
            assert grad is not None and bool(grad.isfinite().all())
            mask |= grad != 0
        pairs = [(m, wanted[id(a)]) for m, a in zip(seen, trainer.alphas, strict=True)]
        if all(torch.equal(found, real) for found, real in pairs):
            return
    raise AssertionError(f"found, wanted: {pairs}")


@pytest.mark.parametrize("pair", REFUSED, ids="-".join)
def test_what_makes_no_sense_is_refused_by_name(pair: tuple[str, str]) -> None:
    row = {"mutator": "darts", "perturbation": "none", "partial": "1", "regularizer": "none",
           "trainer": "bilevel", "execution": "eager"}  # fmt: skip
    for value in pair:
        axis = next(a for a, values in AXES.items() if value in values)
        row[axis] = value
    with pytest.raises(OptionError, match=REFUSED[pair][1]):
        make(row)


def test_every_pair_occurs_or_is_refused_and_few_are() -> None:
    met = {frozenset(pair) for row in ROWS for pair in itertools.combinations(row.items(), 2)}
    named = {frozenset(pair) for pair in REFUSED}
    total = refused = 0
    for (a, values), (b, others) in itertools.combinations(AXES.items(), 2):
        for x, y in itertools.product(values, others):
            total += 1
            if frozenset((x, y)) in named and {x, y} != {"none"}:
                refused += 1
                assert frozenset(((a, x), (b, y))) not in met
            else:
                assert frozenset(((a, x), (b, y))) in met, (x, y)
    assert refused == len(REFUSED) and refused <= 0.15 * total


def test_every_differentiable_mutator_is_in_the_table() -> None:
    known = {n for n in mutators if issubclass(mutators.get(n), DifferentiableMutator)}
    assert known == set(AXES["mutator"])


def test_edge_normalisation_without_edges_to_choose_is_refused() -> None:
    model = spaces.get("nasbench201")(channels=4, cells=1)
    data = ArrayDataset(torch.randn(32, 3, 8, 8), torch.arange(32) % 3)
    with pytest.raises(OptionError, match="space of 6 choices has none"):
        BilevelTrainer(
            model, nn.functional.cross_entropy, accuracy,
            torch.optim.SGD(model.parameters(), lr=0.05), 1, data, data, mutator="darts",
            batch_size=4, device="cpu", progress=False, edge_normalisation=True,
        )  # fmt: skip
