"""Skip connections are counted, rankings are compared, and the search goes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.choice import Cell
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.trainers import (
    BilevelTrainer,
    Callback,
    RetrainTrainer,
    accuracy,
)
from nas_plugin.trainers.stops import RankingStop, SkipStop, Stop, stops

DATA = ArrayDataset(torch.rand(16, 3), torch.arange(16) % 2)
SKIP, A, B = 0, 1, 2


class Net(nn.Module):
    """A normal and a reduction cell of two nodes, on vectors."""

    def __init__(self) -> None:
        super().__init__()

        def edge(node: int, source: int) -> dict[str, nn.Module]:
            return {"skipconnect": nn.Identity(), "a": nn.Linear(3, 3), "b": nn.Linear(3, 3)}

        self.cells = nn.ModuleList(
            Cell(key, edge, n_nodes=2, output="last") for key in ("normal", "reduce")
        )
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for cell in self.cells:
            x = cell(x, x)
        out: torch.Tensor = self.head(x)
        return out


class Script(Callback):
    """Sets the logits of an epoch by a function, in place of training them."""

    def __init__(self, play: Any) -> None:
        self.play = play

    def on_epoch_end(self, epoch: int) -> None:
        mutator = self.trainer.mutator
        with torch.no_grad():
            mutator.alphas.zero_()
            mutator.alphas[:, A] = 1.0
            self.play(epoch, mutator.alphas, mutator.rows)


def search(stop: Stop, play: Any, epochs: int = 6) -> BilevelTrainer:
    model = Net()
    trainer = BilevelTrainer(
        model, nn.functional.cross_entropy, accuracy, torch.optim.SGD(model.parameters(), lr=0.1),
        epochs, DATA, DATA, mutator="darts", batch_size=8, device="cpu", limit_batches=1,
        progress=False, callbacks=[Script(play), stop], execution="eager",
    )  # fmt: skip
    trainer.train()
    return trainer


def growing(epoch: int, alphas: torch.Tensor, rows: list[str]) -> None:
    """After epoch e, e edges prefer the skip connection: first those of reduction cells."""
    order = ["reduce_n2_p0", "reduce_n2_p1", "normal_n2_p0", "normal_n2_p1", "normal_n3_p0"]
    for key in order[:epoch]:
        alphas[rows.index(key), SKIP] = 2.0


@pytest.mark.parametrize(("back", "left"), [(0, 2), (1, 1)])
def test_two_skips_in_the_normal_cell_end_the_search(back: int, left: int) -> None:
    trainer = search(SkipStop(back=back), growing)
    assert trainer.stopped is not None and trainer.stopped.startswith("2 skip connections")
    assert trainer.epoch == 5, "after epoch 4, in which two normal edges are skips"
    found = trainer.export()
    assert sum(v == "skipconnect" for k, v in found.items() if k.startswith("normal")) == left


def test_another_limit_other_names_and_other_cells() -> None:
    assert search(SkipStop(limit=1), growing).epoch == 4
    assert search(SkipStop(prefix="reduce"), growing).epoch == 3
    assert search(SkipStop(skips=["a"]), growing).epoch == 1
    assert search(SkipStop(limit=4), growing).stopped is None


def test_a_skip_on_an_edge_that_is_not_chosen_does_not_count() -> None:
    def weak(epoch: int, alphas: torch.Tensor, rows: list[str]) -> None:
        # Its best candidate is the skip, but both other edges of node 3 are stronger.
        for key in ("normal_n3_p0", "normal_n2_p0"):
            alphas[rows.index(key)] = torch.where(torch.arange(3) == SKIP, 0.1, 0.0)
        for key in ("normal_n3_p1", "normal_n3_p2"):
            alphas[rows.index(key), A] = 5.0

    assert search(SkipStop(), weak).stopped is None


def test_a_ranking_that_stays_ends_the_search() -> None:
    def settles(epoch: int, alphas: torch.Tensor, rows: list[str]) -> None:
        alphas[0, B] = 3.0 if epoch == 1 else 0.5
        alphas[1, SKIP] = float(epoch % 2)  # without weights: not ranked

    trainer = search(RankingStop(epochs=3), settles)
    assert trainer.epoch == 5, "epochs 2, 3 and 4 rank alike"


@pytest.mark.parametrize("name", stops.names())
def test_every_stop_says_what_it_needs(name: str) -> None:
    model = nn.Linear(3, 2)
    trainer = RetrainTrainer(
        model, nn.functional.cross_entropy, accuracy, torch.optim.SGD(model.parameters(), lr=0.1),
        1, DATA, DATA, batch_size=8, device="cpu", progress=False,
    )  # fmt: skip
    with pytest.raises(OptionError, match="RetrainTrainer"):
        stops.get(name)().build(trainer)


def test_arguments_that_make_no_sense_are_refused() -> None:
    for made in (
        lambda: SkipStop(limit=0),
        lambda: SkipStop(back=-1),
        lambda: RankingStop(epochs=1),
    ):
        with pytest.raises(OptionError, match="must"):
            made()
    with pytest.raises(OptionError, match="No candidate is called shortcut"):
        search(SkipStop(skips=["shortcut"]), growing)


def plain_search(*callbacks: Callback, epochs: int, warmup_epochs: int = 0) -> BilevelTrainer:
    model = Net()
    trainer = BilevelTrainer(
        model, nn.functional.cross_entropy, accuracy, torch.optim.SGD(model.parameters(), lr=0.1),
        epochs, DATA, DATA, mutator="darts", batch_size=8, device="cpu", limit_batches=1,
        progress=False, callbacks=callbacks, execution="eager", warmup_epochs=warmup_epochs,
    )  # fmt: skip
    trainer.train()
    return trainer


def test_epochs_in_which_no_logit_learns_do_not_count() -> None:
    trainer = plain_search(RankingStop(epochs=2), epochs=4, warmup_epochs=3)
    assert trainer.stopped is None and trainer.epoch == 4


class After(Stop):
    """Stops after an epoch, for a reason of its own."""

    def __init__(self, epoch: int, said: str, **options: Any) -> None:
        super().__init__(**options)
        self.epoch, self.said = epoch, said

    def reason(self, epoch: int) -> str | None:
        return self.said if epoch == self.epoch else None


def test_of_two_stops_the_first_one_decides() -> None:
    states: list[torch.Tensor] = []

    class Watch(Callback):
        def on_epoch_end(self, epoch: int) -> None:
            states.append(self.trainer.mutator.alphas.detach().clone())

    trainer = plain_search(Watch(), After(2, "the first", back=2), After(2, "the second"), epochs=4)
    assert trainer.stopped == "the first"
    assert torch.equal(trainer.mutator.alphas, states[0])
    assert not torch.equal(states[0], states[2])
