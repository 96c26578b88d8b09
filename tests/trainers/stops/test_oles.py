"""OLES against its formula, written out on plain networks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.trainers import BilevelTrainer, SingleLevelTrainer, accuracy
from nas_plugin.trainers.stops import OperationStop

X = torch.randn(64, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(64) % 2
CLIP = 0.05


class Net(nn.Module):
    """One block whose first candidate has weights of two dimensions and of one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = LayerChoice(
            {
                "conv": nn.Conv1d(3, 3, 3, padding=1),
                "scale": nn.Conv1d(3, 3, 1),
                "id": nn.Identity(),
            }
        )
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block(x).tanh().mean(2))
        return out


def make(stop: OperationStop, trainer: Any = BilevelTrainer, **options: Any) -> BilevelTrainer:
    net = Net().double()
    data = ArrayDataset(X, Y)
    made: BilevelTrainer = trainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.5),
        1, data, data, mutator="darts", batch_size=8, device="cpu", progress=False,
        grad_clip=CLIP, callbacks=[stop], arch_learning_rate=0.3, **options,
    )  # fmt: skip
    made.mutator.double()
    return made


def gradients_by_hand(net: Net, alphas: Tensor, batch: Any) -> dict[str, Tensor]:
    """Differentiates a copy without a choice block."""
    net = copy.deepcopy(net)
    p = alphas[0].softmax(0)
    h = p[0] * net.block["conv"](batch[0]) + p[1] * net.block["scale"](batch[0]) + p[2] * batch[0]
    loss = nn.functional.cross_entropy(net.head(h.tanh().mean(2)), batch[1])
    names, params = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, params), strict=True))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    flat = (a * b).sum(0) / (a.square().sum(0).sqrt() * b.square().sum(0).sqrt())
    return flat.mean()


@pytest.mark.parametrize("execution", ["eager", "auto"])
def test_the_agreement_is_that_of_the_formula(execution: str) -> None:
    class Watched(OperationStop):
        def on_batch_end(self) -> None:
            trained, held_out = self.trainer.given
            alphas = self.trainer.mutator.alphas.detach()
            # That of the step was taken at the weights before it.
            first = gradients_by_hand(self.before, alphas, trained)
            norm = sum(g.square().sum() for g in first.values()).sqrt()
            assert norm > CLIP
            first = {k: g * CLIP / norm for k, g in first.items()}
            second = gradients_by_hand(self.trainer.model, alphas, held_out)
            for name in ("conv", "scale"):
                each = [cosine(first[k], second[k]) for k in first if f"block.{name}." in k]
                self.wanted[f"block.{name}"] = self.wanted.get(f"block.{name}", 0.0) + float(
                    sum(each)
                ) / len(each)
            super().on_batch_end()
            for path, total in self.wanted.items():
                assert abs(self._sums[path] - total) < 1e-6  # torch clips with 1e-6 added
            self.before = copy.deepcopy(self.trainer.model)

    stop = Watched(steps=100)
    stop.wanted = {}
    trainer = make(stop, execution=execution)
    stop.before = copy.deepcopy(trainer.model)
    trainer.train()
    assert set(stop._counts.values()) == {4}


def test_a_mean_below_the_threshold_freezes_for_good() -> None:
    stop = OperationStop(threshold=1.0, steps=2)  # no mean of cosines reaches 1
    trainer = make(stop)
    at: list[dict[str, Tensor]] = []

    class After(OperationStop):
        def build(self, trainer: Any) -> None: ...
        def on_train_begin(self) -> None: ...
        def on_batch_end(self) -> None:
            at.append({k: v.clone() for k, v in trainer.model.state_dict().items()})

    trainer.callbacks.append(After())
    trainer.train()

    assert stop.frozen == ["block.conv", "block.scale"]
    for name, weight in at[1].items():
        same = torch.equal(at[3][name], weight)
        assert same == name.startswith("block."), name
    assert not torch.equal(at[0]["block.conv.weight"], at[1]["block.conv.weight"])


def test_nothing_is_frozen_that_agrees() -> None:
    stop = OperationStop(threshold=-1.0, steps=1)
    make(stop).train()
    assert stop.frozen == []


def test_comparing_less_often_compares_less_often() -> None:
    stop = OperationStop(steps=100, every=2)
    make(stop).train()
    assert set(stop._counts.values()) == {2}


def test_a_search_without_a_held_out_batch_is_refused() -> None:
    with pytest.raises(OptionError, match="SingleLevelTrainer does not have"):
        stop = OperationStop()
        stop.build(make(stop, SingleLevelTrainer))
