"""Channels last is used where a model allows it, and never where it endangers the process."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import TrainingError
from nas_plugin.operations import FactorizedReduce
from nas_plugin.runtime.layout import Layout, strided_pointwise
from nas_plugin.trainers import RetrainTrainer, accuracy

LAST = torch.channels_last
IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 4


class Viewed(nn.Module):
    """A network that flattens by `view`, which needs the plain layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 8 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        out: Tensor = self.head(x.view(x.shape[0], -1))
        return out


class InMemoryOrder(Viewed):
    """A network that reads its features in the order of memory, whatever it is."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        out: Tensor = self.head(x.as_strided((x.shape[0], 256), (256, 1)))
        return out


class LaterViewed(Viewed):
    """A network that flattens by `view` from the third training batch on."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        self.seen += self.training
        flat = x.flatten(1) if self.seen < 3 else x.view(x.shape[0], -1)
        out: Tensor = self.head(flat)
        return out


class Functional(nn.Module):
    """A network whose dangerous convolution is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight, stride=2).mean((2, 3))


def plain_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def trained(make: Callable[[], nn.Module], channels_last: bool = True) -> RetrainTrainer:
    torch.manual_seed(0)
    net = make()
    data = ArrayDataset(IMAGES, LABELS)
    trainer = RetrainTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 2,
        data, data, batch_size=4, device="cpu", channels_last=channels_last,
    )  # fmt: skip
    trainer.train()
    return trainer


def test_a_model_that_allows_it_runs_with_channels_last() -> None:
    trainer = trained(plain_net)
    assert trainer.layout.chosen == LAST
    assert trainer.model[0].weight.is_contiguous(memory_format=LAST)
    other = trained(plain_net, channels_last=False)
    assert other.layout.chosen == torch.contiguous_format
    for one, two in zip(
        trainer.model.state_dict().values(), other.model.state_dict().values(), strict=True
    ):
        assert torch.allclose(one.float(), two.float(), atol=1e-4)


@pytest.mark.parametrize("make", [Viewed, InMemoryOrder, LaterViewed, Functional])
def test_any_other_model_is_trained_as_if_plain_had_been_asked_for(
    make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        trainer = trained(make)
    said = [record for record in caplog.records if "laid out plain" in record.message]
    assert len(said) == 1
    assert trainer.layout.chosen == torch.contiguous_format
    for one, two in zip(
        trainer.model.parameters(), trained(make, channels_last=False).model.parameters(),
        strict=True,
    ):  # fmt: skip
        assert one.is_contiguous() and torch.allclose(one, two, atol=1e-5)


def test_trying_a_layout_leaves_the_model_and_the_random_state_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Dropout(), nn.Flatten())
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(3)
    Layout(True)._choose(net, IMAGES)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert [module.training for module in net] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_an_error_of_the_model_itself_stays_one() -> None:
    with pytest.raises(TrainingError, match="first batch.*mat1 and mat2"):
        trained(lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(5, 4)))


def test_a_choice_survives_a_resume() -> None:
    layout, net = Layout(True), plain_net()
    layout.forward(net, IMAGES)
    assert layout.state_dict() == {"channels_last": True}
    resumed, other = Layout(True), plain_net()
    resumed.load_state_dict(other, layout.state_dict())
    assert resumed.chosen == LAST and other[0].weight.is_contiguous(memory_format=LAST)
    unused = Layout(True)
    unused.load_state_dict(other, Layout(True).state_dict())
    assert unused.chosen is None


@pytest.mark.parametrize(
    ("conv", "dangerous"),
    [
        (nn.Conv2d(4, 2, 1, 2), True),
        (nn.Conv2d(15, 2, 1, (1, 2)), True),
        (nn.Conv2d(16, 2, 1, 2), False),
        (nn.Conv2d(4, 2, 1), False),
        (nn.Conv2d(4, 2, 3, 2), False),
        (nn.Conv2d(4, 4, 1, 2, groups=4), False),
    ],
)
def test_the_dangerous_form_is_known(conv: nn.Module, dangerous: bool) -> None:
    assert (strided_pointwise(nn.Sequential(nn.ReLU(), conv)) == "1") is dangerous


# A spoilt heap ends the process, so what may spoil it runs in one of its own.
PROGRAM = """
import torch
from torch import nn
from nas_plugin import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.operations import FactorizedReduce
from nas_plugin.trainers import DartsTrainer, RetrainTrainer, accuracy

def laid_out(x):  # images of a data set that stores channels last
    return x.contiguous(memory_format=torch.channels_last)

def train(net, kind, **options):
    images, labels = torch.randn(64, 4, 32, 32), torch.arange(64) % 4
    net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    data = ArrayDataset(images, labels)
    kind(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 2,
        data, data, batch_size=16, device="cpu", **options,
    ).train()

torch.manual_seed(0)
print("a module", flush=True)
train(nn.Conv2d(4, 4, 1, 2), RetrainTrainer)
print("images that come with channels last", flush=True)
train(nn.Conv2d(4, 4, 1, 2), RetrainTrainer, channels_last=False, augment=lambda x, *_: laid_out(x))
print("a candidate", flush=True)
train(LayerChoice([nn.Conv2d(4, 4, 1, 2), nn.MaxPool2d(2)]), DartsTrainer)
print("factorized reductions", flush=True)
train(nn.Sequential(FactorizedReduce(4, 8), FactorizedReduce(8, 4)), RetrainTrainer)
reduce = FactorizedReduce(4, 8)
for _ in range(20):
    reduce(laid_out(torch.randn(16, 4, 32, 32))).sum().backward()
"""


def test_nothing_spoils_memory() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"


@pytest.mark.parametrize("c_in", [4, 16])
@pytest.mark.parametrize("size", [6, 7])
def test_a_factorized_reduction_equals_strided_convolutions(c_in: int, size: int) -> None:
    torch.manual_seed(0)
    reduce = FactorizedReduce(c_in, 6).double()
    x = torch.randn(2, c_in, size, size, dtype=torch.float64, requires_grad=True)
    y = reduce(x)
    weight = torch.randn_like(y)
    found = torch.autograd.grad((y * weight).sum(), [x, *reduce.parameters()])

    rectified = x.clamp(min=0)
    shifted = torch.zeros(2, c_in, size + 1, size + 1, dtype=torch.float64)
    shifted = torch.cat([rectified, shifted[:, :, :size, size:]], dim=3)
    shifted = torch.cat([shifted, torch.zeros_like(shifted[:, :, :1])], dim=2)[:, :, 1:, 1:]
    one, two = reduce.conv1.weight, reduce.conv2.weight
    first = nn.functional.conv2d(rectified, one, stride=2)
    joined = torch.cat([first, nn.functional.conv2d(shifted, two, stride=2)], dim=1)
    mean, variance = (
        joined.mean((0, 2, 3), keepdim=True),
        joined.var((0, 2, 3), keepdim=True, correction=0),
    )
    norm = reduce.norm
    wanted = (joined - mean) / (variance + norm.eps).sqrt()
    wanted = wanted * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    assert torch.allclose(y, wanted, atol=1e-12)
    truth = torch.autograd.grad((wanted * weight).sum(), [x, *reduce.parameters()])
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found, truth, strict=True))
