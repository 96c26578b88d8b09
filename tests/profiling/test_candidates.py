"""Cost tables of a supernet against counts of the plain children."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.profiling import CostTable, count_flops, flops_table, latency_table
from nas_plugin.space.collect import search_space
from nas_plugin.space.fix import apply_fixed_architecture


def conv3x3() -> nn.Module:
    return nn.Conv2d(4, 4, 3, padding=1)


class Net(nn.Module):
    """The second block is used twice: equal keys share a decision, and its costs add up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.first = LayerChoice({"thin": nn.Conv2d(4, 4, 1), "wide": nn.Conv2d(4, 4, 5, 1, 2)})
        self.second = LayerChoice(
            {"conv": nn.Conv2d(4, 4, 3, 1, 1), "skip": nn.Identity()}, key="s"
        )
        self.third = LayerChoice({"conv": nn.Conv2d(4, 4, 3, 1, 1), "skip": nn.Identity()}, key="s")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.third(nn.functional.max_pool2d(self.second(self.first(self.stem(x))), 2))
        return out


def test_the_flops_of_every_child_are_the_sum_that_the_table_says() -> None:
    net, x = Net(), torch.zeros(3, 2, 8, 8)
    table = flops_table(net, x)

    for architecture in search_space(net).enumerate():
        child = apply_fixed_architecture(copy.deepcopy(net), architecture)
        assert table(architecture) == count_flops(child, x)


def test_latencies_are_positive_and_identity_is_free() -> None:
    net, x = Net(), torch.zeros(1, 2, 8, 8)
    before = copy.deepcopy(net.state_dict())
    table = latency_table(net, x, repeats=2, warm_up=0)

    assert table.unit == "ms" and table.about["input"] == [1, 2, 8, 8]
    assert set(table.costs) == {"first", "s"}
    assert table.costs["s"]["skip"] == 0 < table.costs["s"]["conv"]
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())


def test_nested_choices_have_no_single_cost() -> None:
    nested = LayerChoice([LayerChoice([nn.Linear(2, 2), nn.Identity()]), nn.Identity()])
    with pytest.raises(SpaceError, match="no single cost"):
        flops_table(nn.Sequential(nested), torch.zeros(1, 2))


def test_a_table_is_read_as_it_was_written(tmp_path) -> None:
    table = CostTable("ms", {"a": {"x": 1.5, "y": 0.0}}, fixed=0.25, about={"device": "cpu"})
    table.write(tmp_path / "table.json")

    assert CostTable.read(tmp_path / "table.json") == table


def test_repeats_must_be_positive() -> None:
    with pytest.raises(OptionError, match="repeats must be positive"):
        latency_table(Net(), torch.zeros(1, 2, 8, 8), repeats=0)
