"""DARTS-PT against brute force on networks written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.trainers import BilevelTrainer, Callback, SingleLevelTrainer, accuracy, finalize
from nas_plugin.trainers.selections import PerturbationSelection
from nas_plugin.trainers.selections.perturbation import revised

X = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(1))


class Never(nn.Module):
    never_kept = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Net(nn.Module):
    """Two blocks with a batch norm between, whose first candidate is never kept."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.blocks = nn.ModuleList(
            LayerChoice(
                {"none": Never(), "a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "id": nn.Identity()},
                key=f"block{i}",
            )
            for i in range(3)
        )
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = self.norm(block(x)).sin()
        out: Tensor = self.head(x)
        return out


class Log(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_record(self, record: Any) -> None:
        if record["phase"] == "selection":
            self.seen.append(dict(record))


def make(net: nn.Module, seed: int = 0, trainer: Any = BilevelTrainer, **options: Any) -> Any:
    data = ArrayDataset(X, Y)
    log = Log()
    made = trainer(
        net.double(), nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), 1, data, data, batch_size=8,
        seed=seed, device="cpu", progress=False, callbacks=[log], mutator="darts", **options,
    )  # fmt: skip
    made.mutator.double()
    with torch.no_grad():
        noise = torch.randn(made.alphas[0].shape, generator=torch.Generator().manual_seed(seed))
        made.alphas[0].add_(noise)
    log.build(made)
    return made, log


def normed(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


def measured(net: Net, mixes: list[Tensor], batches: Any) -> tuple[float, float]:
    right = loss = count = 0.0
    for x, y in batches:
        for block, mix in zip(net.blocks, mixes, strict=True):
            x = normed(mix[1] * block["a"](x) + mix[2] * block["b"](x) + mix[3] * x).sin()
        out = net.head(x)
        right += float((out.argmax(1) == y).sum())
        loss += float(nn.functional.cross_entropy(out, y, reduction="sum"))
        count += len(y)
    return right / count, -loss / count


def last_joined(batches: list[Any]) -> list[Any]:
    """Joins a last batch of less than half the size, as the measurement does."""
    if len(batches[-1][1]) < len(batches[-2][1]) / 2:
        x, y = zip(batches[-2], batches[-1], strict=True)
        batches = [*batches[:-2], (torch.cat(x), torch.cat(y))]
    return batches


def test_what_is_removed_counts_nothing_and_the_rest_is_as_it_was() -> None:
    trainer, _ = make(Net())
    mutator = trainer.mutator
    p = mutator.alphas.detach().softmax(1)
    with revised(mutator, {"block1": "b"}, removed=("block0", "a")):
        mutator.reset()
        first, second, third = (mutator.binding.decisions[f"block{i}"] for i in range(3))
    assert torch.equal(first.mix, p[0] * torch.tensor([1, 0, 1, 1])) and first.active == (0, 2, 3)
    assert second.mix.tolist() == [0, 0, 1, 0] and second.active == (2,)
    assert torch.equal(third.mix, p[2])


@pytest.mark.parametrize("seed", range(6))
def test_every_decision_is_that_of_brute_force(seed: int) -> None:
    trainer, log = make(Net(), seed)
    # Every batch is normalised by itself, so running statistics do not matter.
    trainer.model.norm.running_mean.fill_(3.0)
    trainer.model.norm.running_var.fill_(50.0)
    found = PerturbationSelection(epochs=0)(trainer)

    samples = trainer.arch_part[1]
    batches = last_joined([(X[part], Y[part]) for part in samples.split(8)])
    mixes = list(trainer.mutator.alphas.detach().softmax(1))
    names = ["none", "a", "b", "id"]
    with torch.no_grad():
        for record in log.seen:
            row = int(record["key"][-1])
            without = []
            for k in (1, 2, 3):
                tried = list(mixes)
                tried[row] = mixes[row] * (torch.arange(4) != k)
                without.append(measured(trainer.model, tried, batches))
            worst = 1 + without.index(min(without))
            assert record["chosen"] == names[worst]
            mixes[row] = nn.functional.one_hot(torch.tensor(worst), 4).double()
    assert dict(found) == {r["key"]: r["chosen"] for r in log.seen}
    assert trainer.mutator.revise is None


def test_the_order_is_random_and_follows_the_seed() -> None:
    orders = set()
    for seed in range(8):
        trainer, log = make(Net(), 0)
        PerturbationSelection(epochs=0, seed=seed)(trainer)
        orders.add(tuple(r["key"] for r in log.seen))
    assert len(orders) > 2


class CellNet(nn.Module):
    """A cell of two nodes whose second keeps two of three edges."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)

        def edge(node: int, source: int) -> dict[str, nn.Module]:
            return {"a": nn.Linear(4, 4)}

        self.cell = Cell("cell", edge, n_nodes=2, output="last")
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(x, x.sin()).sin())
        return out


def test_the_least_missed_edge_is_deleted() -> None:
    trainer, log = make(CellNet())
    found = PerturbationSelection(epochs=0)(trainer)

    cell = trainer.model.cell.edges
    samples = trainer.arch_part[1]
    x, y = X[samples], Y[samples]
    states = [x, x.sin()]
    with torch.no_grad():
        states.append(sum(cell[f"n2_p{i}"]["a"](s) for i, s in enumerate(states)))
        arriving = [cell[f"n3_p{i}"]["a"](s) for i, s in enumerate(states)]
        values = []
        for gone in range(3):
            out = trainer.model.head(sum(a for i, a in enumerate(arriving) if i != gone).sin())
            right = float((out.argmax(1) == y).double().mean())
            values.append((right, -float(nn.functional.cross_entropy(out, y))))
    kept = tuple(f"cell_n3_p{i}" for i in range(3) if i != values.index(max(values)))
    assert found["cell_n3_switch"] == kept
    assert [r["key"] for r in log.seen] == ["cell_n3_switch"]


def test_training_goes_on_between_decisions() -> None:
    trainer, _ = make(Net())
    trainer.train()
    weights = [w.detach().clone() for w in trainer.weights]
    alphas = trainer.mutator.alphas.detach().clone()
    rates: list[float] = []
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    found = finalize(trainer, PerturbationSelection(epochs=2))

    steps = trainer.steps_per_epoch
    assert len(rates) == 2 * 2 * steps, "two epochs between each two of three decisions"
    expected = [0.01 * 0.5 * (1 + torch.tensor(torch.pi * e / 4).cos().item()) for e in range(4)]
    assert rates[::steps] == pytest.approx(expected)
    assert any(not torch.equal(a, b) for a, b in zip(weights, trainer.weights, strict=True))
    assert not torch.equal(alphas, trainer.mutator.alphas)
    assert trainer.mutator.space.architecture(found.to_json()) == found


@pytest.mark.parametrize("mutator", ["drnas", "gdas", "fair_darts"])
def test_other_mutators_and_perturbations_run_through(mutator: str) -> None:
    net = CellNet()
    for edge in net.cell.edges.values():
        edge["b"] = nn.Linear(4, 4)
    data = ArrayDataset(X.float(), Y)
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 1,
        data, data, batch_size=8, device="cpu", progress=False, mutator=mutator,
        perturbation=None if mutator == "gdas" else "random", limit_batches=1,
    )  # fmt: skip
    trainer.train()
    found = finalize(trainer, PerturbationSelection(epochs=1))
    assert trainer.mutator.space.architecture(found.to_json()) == found


def test_a_search_without_a_half_for_the_logits_is_refused() -> None:
    trainer, _ = make(Net(), trainer=SingleLevelTrainer)
    with pytest.raises(OptionError, match="SingleLevelTrainer does not have"):
        finalize(trainer, "perturbation")
