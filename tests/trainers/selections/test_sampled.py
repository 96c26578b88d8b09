"""The best of N draws against brute force, and what is drawn against its probabilities."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.space.collect import search_space
from nas_plugin.trainers import BilevelTrainer, accuracy, finalize
from nas_plugin.trainers.selections import SampledSelection
from nas_plugin.trainers.selections.sampled import drawn_by

X = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.one = LayerChoice({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}, key="one")
        self.two = LayerChoice({"a": nn.Linear(4, 4), "id": nn.Identity()}, key="two")
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.two(self.one(x).sin())))
        return out


def make() -> BilevelTrainer:
    net = Net().double()
    data = ArrayDataset(X, Y)
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 2,
        data, data, batch_size=8, device="cpu", progress=False, mutator="darts",
    )  # fmt: skip
    trainer.mutator.double()
    trainer.train()
    return trainer


def test_it_is_the_best_of_all_with_recalibrated_statistics(tmp_path: Path) -> None:
    trainer = make()
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    found = finalize(trainer, SampledSelection(samples=40, calibration_batches=3), tmp_path / "a")

    net = trainer.model
    samples = trainer.arch_part[1]
    values = {}
    with torch.no_grad():
        for one in ("a", "b"):
            for two in ("a", "id"):

                def inner(x: Tensor, one: str = one, two: str = two) -> Tensor:
                    return net.two[two](net.one[one](x).sin())

                batches = [
                    b for b, _ in zip(trainer.train_loader.batches(0), range(3), strict=False)
                ]
                means = torch.stack([inner(x).mean(0) for x, _ in batches]).mean(0)
                spread = torch.stack([inner(x).var(0) for x, _ in batches]).mean(0)
                h = (inner(X[samples]) - means) / (spread + 1e-5).sqrt()
                out = net.head(h * net.norm.weight + net.norm.bias)
                right = float((out.argmax(1) == Y[samples]).double().mean())
                loss = float(nn.functional.cross_entropy(out, Y[samples]))
                values[one, two] = (right, -loss)
    assert (found["one"], found["two"]) == max(values, key=lambda k: values[k])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert (tmp_path / "a").is_file()


def test_draws_follow_the_strengths() -> None:
    space = search_space(Net())
    status = {"one": {"a": 0.9, "b": 0.1}, "two": {"a": 0.5, "id": 0.5}}
    rng = Random(0)
    counts = Counter(drawn_by(space, status, rng)["one"] for _ in range(2000))
    assert counts["a"] / 2000 == pytest.approx(0.9, abs=0.03)


def test_inputs_are_drawn_by_their_best_candidate() -> None:
    cell = Cell("c", lambda node, source: {"a": nn.Identity(), "b": nn.Tanh()}, n_nodes=2)
    space = search_space(nn.Sequential(cell))
    status = {k: {"a": 0.5, "b": 0.5} for k, c in space.items() if c.kind == "layer"}
    status["c_n3_p1"] = {"a": 1e-9, "b": 1e-9}
    rng = Random(0)
    drawn = [drawn_by(space, status, rng) for _ in range(200)]
    assert all(a["c_n3_switch"] == ("c_n3_p0", "c_n3_p2") for a in drawn)
    assert all(len(a) == 6 for a in drawn), "four edges and two choices of inputs"


def test_the_strongest_is_among_those_that_are_tried() -> None:
    trainer = make()
    with torch.no_grad():
        trainer.mutator.alphas[:, 0] = 20.0
    assert finalize(trainer, SampledSelection(samples=3)) == trainer.export() == finalize(trainer)
