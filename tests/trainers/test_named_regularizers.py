"""Regularizers by name, and the cost that multiplies the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError, UnknownNameError
from nas_plugin.space.cost_table import CostTable
from nas_plugin.trainers import BilevelTrainer, CostFactor, accuracy, named_regularizer
from nas_plugin.trainers.regularizers import in_microseconds, regularizers

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
BATCH = (X, torch.arange(8) % 2)
TABLE = CostTable("us", {"0": {"0": 40.0, "1": 90.0}}, fixed=5.0)


def make_trainer(**options: Any) -> BilevelTrainer:
    torch.manual_seed(0)
    net = nn.Sequential(
        LayerChoice([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())]), nn.Linear(4, 2)
    ).double()
    data = ArrayDataset(X.repeat(4, 1), torch.arange(32) % 2)
    trainer = BilevelTrainer(
        net, nn.functional.cross_entropy, accuracy, torch.optim.SGD(net.parameters(), lr=0.1), 1,
        data, data, batch_size=8, device="cpu", progress=False, mutator="darts", **options,
    )  # fmt: skip
    trainer.mutator.double()
    return trainer


def loss_of(net: nn.Module, p: Tensor) -> Tensor:
    """Writes the mixed network's loss out, without choice blocks."""
    choice, head = net[0], net[1]
    x, y = BATCH
    logits = head(p[0] * choice[0](x) + p[1] * choice[1](x))
    return (torch.logsumexp(logits, dim=1) - logits[range(8), y]).mean()


def test_a_factor_multiplies_the_logits_loss_as_the_paper_writes_it() -> None:
    trainer = make_trainer(regularizers=[CostFactor(TABLE)])
    found = trainer.arch_gradient(BATCH, BATCH)[0]
    alphas = trainer.mutator.alphas.detach().clone().requires_grad_()  # type: ignore[operator]
    p = alphas[0].exp() / alphas[0].exp().sum()
    latency = 5.0 + 40.0 * p[0] + 90.0 * p[1]
    wanted = torch.autograd.grad(loss_of(trainer.model, p) * 0.2 * latency.log() ** 0.6, alphas)[0]

    assert found is not None and torch.allclose(found, wanted, rtol=1e-10, atol=1e-14)
    plain = make_trainer()
    for a, b in zip(*(t.gradients(BATCH, t.weights)[0] for t in (trainer, plain)), strict=True):
        assert a is not None and b is not None and torch.equal(a, b)


def test_a_cost_that_may_be_one_or_less_cannot_multiply() -> None:
    small = CostTable("ms", {"0": {"0": 0.04, "1": 0.09}}, fixed=0.005)
    with pytest.raises(OptionError, match=r"may cost 0.045 ms.*such as microseconds"):
        make_trainer(regularizers=[CostFactor(small)])
    make_trainer(regularizers=[CostFactor(in_microseconds(small))])
    with pytest.raises(OptionError, match="must be positive, got 0.2 and 0"):
        CostFactor(TABLE, power=0.0)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("auxiliary_skip", {"start": 1.0, "end": 0.0}),
        ("auxiliary_skip:start=0.5", {"start": 0.5, "end": 0.0}),
        ("flops:target=30,weight=2", {"target": 30, "weight": 2}),
        ("params:weight=1e-3", {"target": None, "weight": 1e-3}),
        ("latency:target=1e3", {"target": 1e3, "weight": 1.0}),
        ("flops_factor:power=0.5", {"scale": 0.2, "power": 0.5}),
        ("latency_factor", {"scale": 0.2, "power": 0.6}),
    ],
)
def test_a_name_makes_the_part_for_a_supernet(text: str, options: dict[str, float]) -> None:
    net = nn.Sequential(LayerChoice([nn.Linear(4, 4), nn.Identity()]), nn.Linear(4, 2))
    found, given = named_regularizer(text)
    found.prepare(net, torch.zeros(1, 4))
    part = found.made_for(net, torch.zeros(1, 4), **given)

    assert {name: getattr(part, name) for name in options} == options
    if text.startswith("params"):
        assert part.table.costs == {"0": {"0": 20.0, "1": 0.0}}  # type: ignore[attr-defined]
    assert (net[0].auxiliary is not None) == text.startswith("auxiliary")


def test_every_registered_name_was_made_above() -> None:
    assert regularizers.names() == [
        "auxiliary_skip", "flops", "flops_factor", "latency", "latency_factor", "params",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("flop", UnknownNameError, "Unknown regularizer 'flop'. Did you mean 'flops'"),
        ("flops:30", OptionError, "expected option=value, found '30'"),
        ("flops:goal=30", OptionError, "FlopsCost has no argument 'goal'"),
    ],
)
def test_what_is_no_regularizer_is_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        named_regularizer(text)
