"""Metrics by name against scikit-learn, metrics of a whole set, and which direction is better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as truth
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from nas_plugin.choice import LayerChoice
from nas_plugin.directions import direction
from nas_plugin.errors import OptionError
from nas_plugin.trainers import RandomNasTrainer, RetrainTrainer
from nas_plugin.trainers.metrics import MetricSet
from nas_plugin.trainers.monitor import Monitor

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(23, 7, generator=GENERATOR) - 9 * (torch.arange(7) == 6)
CLASSES = torch.randint(0, 6, (23,), generator=GENERATOR)
NUMBERS = torch.randn(23, 2, generator=GENERATOR) + 1000
PREDICTED = NUMBERS + torch.randn(23, 2, generator=GENERATOR)


def measured(metrics: Any, outputs: Tensor, targets: Tensor, batch: int = 5) -> dict[str, float]:
    """Measures a model that gives its input, in batches, the last of them smaller."""
    data = TensorDataset(outputs, targets)
    net = nn.Sequential(nn.Identity(), nn.Linear(1, 1))
    trainer = RetrainTrainer(
        net, lambda output, target: output.sum() * 0, metrics,
        torch.optim.SGD(net.parameters(), lr=0.1), 1, data, data, batch_size=batch, device="cpu",
        monitor="loss",
    )  # fmt: skip
    trainer.objective.model = net[0]
    return trainer.measured(trainer.valid_loader)


@pytest.mark.parametrize("batch", [1, 5, 23])
def test_metrics_of_classes_are_those_of_scikit_learn(batch: int) -> None:
    found = measured(["accuracy", "top5", "f1"], LOGITS, CLASSES, batch)
    best = LOGITS.argmax(1)
    assert found["accuracy"] == pytest.approx(truth.accuracy_score(CLASSES, best), abs=1e-12)
    top5 = truth.top_k_accuracy_score(CLASSES, LOGITS, k=5, labels=range(7))
    assert found["top5"] == pytest.approx(top5, abs=1e-12)
    f1 = truth.f1_score(CLASSES, best, average="macro")
    assert found["f1"] == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize("batch", [1, 5, 23])
def test_metrics_of_numbers_are_those_of_scikit_learn(batch: int) -> None:
    found = measured(("mae", "mse", "rmse", "r2"), PREDICTED, NUMBERS, batch)
    y, z = NUMBERS.double().numpy(), PREDICTED.double().numpy()
    assert found["mae"] == pytest.approx(truth.mean_absolute_error(y, z), rel=1e-12)
    assert found["mse"] == pytest.approx(truth.mean_squared_error(y, z), rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(((y - z) ** 2).mean()), rel=1e-12)
    assert found["r2"] == pytest.approx(truth.r2_score(y, z), rel=1e-10)


def test_r2_of_a_constant_target_is_that_of_scikit_learn() -> None:
    y = torch.stack([torch.full((6,), 2.0), torch.full((6,), 3.0), torch.arange(6.0)], dim=1)
    z = y + torch.tensor([0.0, 1.0, 0.5])
    assert measured("r2", z, y, 4)["r2"] == pytest.approx(
        truth.r2_score(y.double(), z.double()), abs=1e-12
    )


def test_numbers_of_other_shapes_are_refused_and_a_last_dimension_of_one_is_not() -> None:
    with pytest.raises(OptionError, match=r"\(5, 2\).*\(5,\)"):
        measured("mae", PREDICTED, NUMBERS[:, 0])
    found = measured("mae", PREDICTED[:, :1], NUMBERS[:, 0])
    assert found["mae"] == pytest.approx(float((PREDICTED - NUMBERS)[:, 0].abs().mean()), rel=1e-5)


class Auroc(nn.Module):
    """A metric as torchmetrics has them: a module that can also be called on a batch."""

    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.scores: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        self.scores.append(output[:, 1] - output[:, 0])
        self.targets.append(target)

    def compute(self) -> Tensor:
        scores, targets = torch.cat(self.scores), torch.cat(self.targets)
        ahead = scores[targets == 1].unsqueeze(1) > scores[targets == 0].unsqueeze(0)
        return ahead.double().mean()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("the value of a batch means nothing")


def test_an_object_is_measured_on_the_whole_set_each_time_anew() -> None:
    targets = CLASSES % 2
    wanted = truth.roc_auc_score(targets, LOGITS[:, 1] - LOGITS[:, 0])
    metric = Auroc()
    for _ in range(2):
        assert measured(metric, LOGITS, targets)["auroc"] == pytest.approx(wanted, abs=1e-12)
    found = measured({"area": metric, "right": "accuracy"}, LOGITS, targets)
    assert found["area"] == pytest.approx(wanted, abs=1e-12)
    assert metric.scores == []


def test_an_object_chooses_by_its_own_direction() -> None:
    net = nn.Linear(7, 2)
    data = TensorDataset(LOGITS, CLASSES % 2)
    trainer = RetrainTrainer(
        net, nn.functional.cross_entropy, {"area": Auroc()},
        torch.optim.SGD(net.parameters(), lr=0.1), 2, data, data, batch_size=5, device="cpu",
        monitor="area",
    )  # fmt: skip
    trainer.train()
    assert trainer.monitor.mode == "max" and 0 < trainer.best <= 1


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("accuracy", "max"), ("valid_mae", "min"), ("loss", "min"), ("r2_score", "max"),
        ("mean_squared_error", "min"), ("AUC", "max"), ("wonder", None),
        ("neg_mean_squared_error", None), ("negative_log_likelihood", None), ("Neg-MAE", None),
    ],
)  # fmt: skip
def test_directions_of_known_names(name: str, better: str | None) -> None:
    assert direction(name) == better


def test_an_unknown_direction_is_asked_for() -> None:
    metrics = MetricSet(lambda output, target: {})
    with pytest.raises(OptionError, match="monitor='wonder'.*mode='max' or mode='min'"):
        Monitor("wonder", None, metrics)
    with pytest.raises(OptionError, match="mode must be"):
        Monitor("wonder", "most", metrics)  # type: ignore[arg-type]
    assert Monitor("wonder", "min", metrics).is_better(1.0, 2.0)
    nan = float("nan")
    assert not any(Monitor("mae", None, metrics).is_better(nan, x) for x in (nan, float("inf")))


def test_unknown_metrics_are_refused() -> None:
    with pytest.raises(OptionError, match="Unknown metric 'f2'; known by name are accuracy, f1"):
        MetricSet(["f2"])
    with pytest.raises(OptionError, match="The metric 'a' is 3"):
        MetricSet({"a": 3})
    with pytest.raises(OptionError, match="the name 'loss'"):
        MetricSet({"loss": "mae"})


class Shift(nn.Module):
    """Adds a constant, and has a weight that is trained."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by, self.weight = by, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by + self.weight


@pytest.mark.parametrize(("mode", "wanted"), [(None, "1"), ("max", "2")])
def test_the_best_of_n_goes_by_the_direction(mode: Any, wanted: str) -> None:
    net = nn.Sequential(LayerChoice([Shift(1.0), Shift(0.0), Shift(9.0)], key="shift"))
    data = TensorDataset(torch.zeros(16, 1), torch.zeros(16))
    trainer = RandomNasTrainer(
        net, lambda output, target: output.square().mean(), "mae",
        torch.optim.SGD(net.parameters(), lr=1e-6), 1, data, data, batch_size=4, device="cpu",
        samples=30, monitor="mae", mode=mode,
    )  # fmt: skip
    trainer.train()
    assert dict(trainer.export()) == {"shift": wanted}


@pytest.mark.parametrize("name", ["accuracy", "top5", "f1"])
def test_probabilities_are_targets_by_their_largest(name: str) -> None:
    soft = torch.softmax(4 * nn.functional.one_hot(CLASSES, 7).float(), dim=1)
    assert measured(name, LOGITS, soft) == measured(name, LOGITS, CLASSES)
    square = measured(name, LOGITS[:7], soft[:7], batch=7)  # as many samples as classes
    assert square == measured(name, LOGITS[:7], CLASSES[:7], batch=7)


@pytest.mark.parametrize("name", ["accuracy", "top5", "f1"])
@pytest.mark.parametrize("shape", [(23, 1), (23, 2)])
def test_metrics_of_classes_never_broadcast(name: str, shape: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match="metric of classes compares"):
        measured(name, LOGITS[:, :1] if shape[1] == 1 else LOGITS, torch.zeros(shape))
