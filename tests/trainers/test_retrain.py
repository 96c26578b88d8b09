"""Retraining: the auxiliary loss by hand, the schedule of drop-path, and what is monitored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.operations import DropPath
from nas_plugin.trainers import RetrainTrainer, accuracy

RATE = 0.3


class TwoHeads(nn.Module):
    """Gives an auxiliary output while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.head, self.auxiliary = nn.Linear(4, 2), nn.Linear(4, 2)
        self.drop = DropPath()

    def forward(self, x: Tensor) -> Any:
        hidden = self.drop(self.stem(x).tanh())
        return (self.head(hidden), self.auxiliary(hidden)) if self.training else self.head(hidden)


def data(n: int = 8) -> ArrayDataset:
    generator = torch.Generator().manual_seed(0)
    return ArrayDataset(
        torch.randn(n, 3, generator=generator, dtype=torch.float64), torch.arange(n) % 2
    )


def trainer(**options: Any) -> RetrainTrainer:
    torch.manual_seed(0)
    model = TwoHeads().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    options = {"batch_size": 8, "device": "cpu", "num_epochs": 1, "metrics": accuracy, **options}
    return RetrainTrainer(
        model, nn.functional.cross_entropy, optimizer=optimizer, dataset_train=data(),
        dataset_valid=data(), **options,
    )  # fmt: skip


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_a_step_is_the_gradient_of_the_loss_and_the_weighted_auxiliary_loss(
    accumulate: int, clip: float | None
) -> None:
    ours = trainer(aux_weight=0.4, accumulate=accumulate, grad_clip=clip)
    copy = trainer().model
    (batch,) = ours.batches(0, 0)
    values = ours.train_step(batch)

    x, target = batch
    hidden = copy.stem(x).tanh()
    main = -copy.head(hidden).log_softmax(1)[torch.arange(8), target].mean()
    auxiliary = -copy.auxiliary(hidden).log_softmax(1)[torch.arange(8), target].mean()
    grads = torch.autograd.grad(main + 0.4 * auxiliary, list(copy.parameters()))
    norm = torch.sqrt(torch.stack([(g * g).sum() for g in grads]).sum())
    factor = 1.0 if clip is None else clip / (float(norm) + 1e-6)
    assert clip is None or norm > clip
    for param, old, grad in zip(ours.model.parameters(), copy.parameters(), grads, strict=True):
        assert torch.allclose(param, old - RATE * factor * grad, rtol=0, atol=1e-12)
    assert float(values["loss"]) == pytest.approx(float(main.detach()), abs=1e-12)


def test_an_auxiliary_head_without_weight_gets_no_gradient() -> None:
    ours = trainer()
    before = {name: param.clone() for name, param in ours.model.named_parameters()}
    ours.train()
    moved = {name for name, p in ours.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"stem.weight", "stem.bias", "head.weight", "head.bias"}


def test_drop_path_rises_linearly_over_the_epochs() -> None:
    ours = trainer(num_epochs=4, drop_path_prob=0.2)
    seen = []
    for epoch in range(4):
        ours.start_epoch(epoch)
        seen.append(ours.model.drop.p)
    assert seen == pytest.approx([0.0, 0.05, 0.1, 0.15])


def error_rate(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    return {"error": (output.argmax(1) != target).double().mean()}


def test_what_is_monitored_is_checked_at_the_first_step() -> None:
    ours = trainer(monitor="f1", num_epochs=9)
    with pytest.raises(OptionError, match=r"monitor='f1'.*\['accuracy', 'loss'\]"):
        ours.train()
    assert ours.step == 0


def test_a_supernet_is_not_retrained() -> None:
    net = nn.Sequential(LayerChoice([nn.Linear(2, 2), nn.Identity()], key="op"), nn.Linear(2, 2))
    data = ArrayDataset(torch.randn(8, 2), torch.arange(8) % 2)
    common: Any = (nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), 0.1))
    with pytest.raises(OptionError, match=r"1 choices .* open, among them 'op'.*apply_fixed"):
        RetrainTrainer(net, *common, 1, data, data, device="cpu")


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [("error", None, min), ("loss", None, min), ("error", "max", max)],
)
def test_the_best_held_out_value_of_what_is_monitored_is_kept(
    monitor: str, mode: Any, best: Any
) -> None:
    ours = trainer(metrics=error_rate, monitor=monitor, mode=mode, num_epochs=3)
    assert ours.best == (float("inf") if best is min else float("-inf"))
    seen = []
    measured = ours.measured
    ours.measured = lambda loader: seen.append(measured(loader)) or seen[-1]  # type: ignore[method-assign]
    ours.train()
    assert len(seen) == 3 and ours.best == best(values[monitor] for values in seen)
