"""What is measured on held-out data, against plain float64 arithmetic, and which value is best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset, make_loader
from nas_plugin.trainers import RandomNasTrainer, RetrainTrainer, accuracy
from nas_plugin.trainers.metrics import MetricSet
from nas_plugin.trainers.monitor import Monitor

N, BATCH = 11, 4


def data() -> ArrayDataset:
    generator = torch.Generator().manual_seed(1)
    return ArrayDataset(torch.randn(N, 3, generator=generator), torch.arange(N) % 2)


@pytest.mark.parametrize("training", [True, False])
def test_held_out_data_is_measured_without_dropout_by_the_running_statistics(
    training: bool,
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    norm, linear = net[0], net[2]
    norm.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([0.25, 4.0, 1.0]))
    trainer = RetrainTrainer(
        net, nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(net.parameters(), lr=0.1), 1, data(), data(), batch_size=BATCH,
        device="cpu", monitor="loss",
    )  # fmt: skip
    net.train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = trainer.measured(trainer.valid_loader)

    x, y = data().inputs.double().numpy(), data().targets.numpy()
    normed = (x - [0.5, -1.0, 2.0]) / np.sqrt(np.array([0.25, 4.0, 1.0]) + 1e-5)
    weight, bias = (p.detach().double().numpy() for p in (linear.weight, linear.bias))
    logits = normed @ weight.T + bias
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(N), y]
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-6)
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == y).mean(), rel=1e-6)
    assert net.training is training and net[1].training is training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("mode", ["max", "min"])
def test_equal_is_not_better(mode: Any) -> None:
    monitor = Monitor("wonder", mode, MetricSet(lambda output, target: {}))

    assert not monitor.is_better(1.5, 1.5)
    assert monitor.is_better(1.0, 2.0) is (mode == "min")
    assert monitor.is_better(2.0, 1.0) is (mode == "max")
    assert monitor.is_better(1e30 if mode == "min" else -1e30, monitor.worst)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_first_of_equal_architectures_is_the_best_whatever_follows(mode: Any) -> None:
    net = nn.Sequential(LayerChoice([nn.Identity() for _ in range(4)], key="same"), nn.Linear(3, 2))
    trainer = RandomNasTrainer(
        net, nn.functional.cross_entropy, accuracy,
        torch.optim.SGD(net.parameters(), lr=0.1), 1, data(), data(), batch_size=BATCH,
        device="cpu", samples=12, monitor="loss", mode=mode,
    )  # fmt: skip
    order: list[str] = []
    values = {"0": 1.0, "1": 3.0, "2": 1.0, "3": 3.0}

    def measure(architecture: Any) -> dict[str, float]:
        order.append(architecture["same"])
        return {"loss": values[architecture["same"]]}

    trainer.measure = measure  # type: ignore[method-assign]
    best = trainer.export()["same"]

    assert sorted(order) == ["0", "1", "2", "3"]
    wanted = 3.0 if mode == "max" else 1.0
    assert best == next(name for name in order if values[name] == wanted)


@pytest.mark.parametrize(("size", "batches"), [(7, [7, 4]), (8, [11]), (3, [3, 3, 3, 2])])
def test_only_a_last_batch_of_less_than_half_the_size_joins_another(
    size: int, batches: list[int]
) -> None:
    choice = LayerChoice([nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))])
    seen: list[int] = []
    net = nn.Sequential(choice)
    net.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    trainer = RandomNasTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), 0.1), 1,
        data(), data(), samples=1, batch_size=2, device="cpu", progress=False,
    )  # fmt: skip
    loader = make_loader(data(), batch_size=size, seed=0, shuffle=False)
    trainer.objective.measured(loader, before_batch=trainer.mutator.reset, own_statistics=True)
    assert seen == batches
