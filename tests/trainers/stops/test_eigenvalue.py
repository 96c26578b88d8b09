"""The dominant eigenvalue against torch's own Hessian; the stop against its formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.trainers import BilevelTrainer, SingleLevelTrainer, accuracy
from nas_plugin.trainers.curvature import hessian_products, largest_eigenvalue
from nas_plugin.trainers.stops import EigenvalueStop

X = torch.randn(48, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(48) % 3


class Net(nn.Module):
    """Two mixed layers; keys of a normal and of another cell."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())]
        self.one = LayerChoice(layers, key="normal_1")
        self.two = LayerChoice([nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)], key="other")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x).sin())
        return out


def make(mutator: Any = "darts", trainer: Any = BilevelTrainer, **options: Any) -> BilevelTrainer:
    net = Net().double()
    data = ArrayDataset(X, Y)
    made: BilevelTrainer = trainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1),
        options.pop("epochs", 1), data, data, mutator=mutator, batch_size=8, device="cpu",
        progress=False, **options,
    )  # fmt: skip
    made.mutator.double()
    with torch.no_grad():
        made.mutator.alphas.add_(torch.randn(2, 3, generator=torch.Generator().manual_seed(4)))
    return made


def loss_by_hand(net: Net, alphas: Tensor, x: Tensor, y: Tensor) -> Tensor:
    p, q = alphas[0, :2].softmax(0), alphas[1].softmax(0)
    a, b = net.one["0"], net.one["1"][0]
    h = p[0] * (x @ a.weight.T + a.bias) + p[1] * (x @ b.weight.T + b.bias).tanh()
    out = sum(q[k] * (h.sin() @ c.weight.T + c.bias) for k, c in enumerate(net.two))
    return nn.functional.cross_entropy(out, y)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("prefix", [None, "other", ""])
def test_it_is_that_of_the_hessian(prefix: str | None, accumulate: int) -> None:
    trainer = make(accumulate=accumulate)
    stop = EigenvalueStop(prefix=prefix, batches=2, iterations=50)
    stop.build(trainer)
    net, alphas = trainer.model, trainer.mutator.alphas.detach()
    found = stop.eigenvalue(epoch=3)

    batches = [b for b, _ in zip(trainer.arch_loader.batches(3, 0), range(2), strict=False)]

    def loss(table: Tensor) -> Tensor:
        return sum(loss_by_hand(net, table, *batch) for batch in batches) / 2

    hessian = torch.autograd.functional.hessian(loss, alphas).reshape(6, 6)
    rows = {None: [0, 1], "other": [3, 4, 5], "": [0, 1, 3, 4, 5]}[prefix]
    right = torch.linalg.eigvalsh(hessian[rows][:, rows])[-1]
    assert abs(found - float(right)) < 1e-12


def test_a_product_is_that_of_the_hessian_and_leaves_no_trace() -> None:
    trainer = make()
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    v = torch.randn(2, 3, dtype=torch.float64)
    batch = (X[:8], Y[:8])
    with hessian_products(trainer.gradients, [batch], trainer.mutator.alphas) as product:
        found = product(v)
    right = torch.autograd.functional.hvp(
        lambda a: loss_by_hand(trainer.model, a, *batch), trainer.mutator.alphas.detach(), v
    )[1]
    assert torch.allclose(found, right, atol=1e-12)
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in trainer.weights)


def test_lanczos_finds_the_largest_not_the_largest_in_size() -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(30, 30, dtype=torch.float64, generator=generator)
    q = torch.linalg.qr(a)[0]
    values = torch.cat([torch.tensor([-9.0, 4.0]), torch.linspace(-1, 1, 28)]).double()
    matrix = q @ torch.diag(values) @ q.T
    assert abs(largest_eigenvalue(lambda v: matrix @ v, 30, 30) - 4.0) < 1e-10
    assert abs(largest_eigenvalue(lambda v: matrix @ v, 30, 15) - 4.0) < 1e-6
    assert largest_eigenvalue(lambda v: 3 * v, 5, 5) == pytest.approx(3.0)


def test_the_rule_and_the_epoch_that_it_goes_back_to() -> None:
    """Means of three epochs, two epochs apart: the numbers are worked out by hand."""
    played = [1.0, 1.0, 1.0, 1.0, 1.0, 1.1, 1.2, 2.0, 9.0]
    # Window 3, lag 2: mean(1..3)/mean(3..5) = 3/3.1, 3/3.3, 3.1/4.3 = 0.72 < 0.75 after epoch 7.
    seen: list[Tensor] = []

    class Played(EigenvalueStop):
        def eigenvalue(self, epoch: int) -> float:
            seen.append(trainer.mutator.alphas.detach().clone())
            return played[epoch]

    stop = Played(window=3, lag=2)
    trainer = make(epochs=9, callbacks=[stop], arch_learning_rate=0.1)
    trainer.train()

    assert trainer.epoch == 8 and len(stop.values) == 8
    assert trainer.stopped is not None and "1.39-fold in 2 epochs" in trainer.stopped
    # The later window is that around epoch 6, so the earlier one is around epoch 4.
    assert torch.equal(trainer.mutator.alphas, seen[4])


@pytest.mark.parametrize("values", [[-1.0, -1.0, -2.0], [1.0, 1.0, -1.0], [-1.0, 1.0, 9.0]])
def test_a_mean_that_is_not_positive_stops_nothing(values: list[float]) -> None:
    class Played(EigenvalueStop):
        def eigenvalue(self, epoch: int) -> float:
            return values[epoch]

    trainer = make(epochs=3, callbacks=[Played(window=1, lag=2 if values[0] < 0 else 1)])
    trainer.train()
    assert trainer.stopped is None


def test_a_draw_is_held_over_all_products_and_does_not_count() -> None:
    trainer = make("snas")
    stop = EigenvalueStop(prefix="")
    stop.build(trainer)
    before = trainer.mutator.generator.get_state()
    assert stop.eigenvalue(0) == stop.eigenvalue(0)
    assert torch.equal(trainer.mutator.generator.get_state(), before)


def test_what_has_no_hessian_is_refused() -> None:
    with pytest.raises(OptionError, match="DrnasMutator have no second derivative"):
        EigenvalueStop().build(make("drnas"))
    with pytest.raises(OptionError, match="Use BilevelTrainer"):
        EigenvalueStop().build(make(trainer=SingleLevelTrainer))
    with pytest.raises(OptionError, match="begins with 'reduce'"):
        EigenvalueStop(prefix="reduce").build(make())
    with pytest.raises(OptionError, match="odd"):
        EigenvalueStop(window=4)
