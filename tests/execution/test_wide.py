"""Candidates side by side: every form, every space, sizes at random, and nothing passes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Cell, LayerChoice, fan_out
from nas_plugin.contracts.executor import equals_the_modules, served_blocks
from nas_plugin.execution import WideExecutor, executors
from nas_plugin.execution.verify import SCENARIOS
from nas_plugin.operations import (
    DilConv,
    FactorizedReduce,
    ReLUConvBN,
    SepConv,
    Zero,
    avg_pool,
    max_pool,
)
from search_spaces.darts import darts
from search_spaces.enas import enas_macro, enas_micro
from search_spaces.nasbench1shot1 import nasbench1shot1_1
from search_spaces.nasbench201 import nasbench201

Candidates = Callable[[int, int], Mapping[str, nn.Module]]


class Fan(nn.Module):
    """Blocks that read one tensor; their outputs are joined."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(fan_out(x, list(self.blocks)), dim=1)


class Pair(nn.Sequential):
    """A user's own chain."""


def conv_bn_relu(c: int, kernel: int, stride: int) -> nn.Module:
    return Pair(
        nn.Conv2d(c, c, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(c),
        nn.ReLU(inplace=True),
    )


def bare(c: int, kernel: int, stride: int, bias: bool = False) -> nn.Module:
    return nn.Conv2d(c, c, kernel, stride, kernel // 2, bias=bias)


FORMS: dict[str, Candidates] = {
    "zero and identity": lambda c, s: {"a": Zero(s), "b": nn.Identity() if s == 1 else Zero(s)},
    "pools": lambda c, s: {"a": nn.MaxPool2d(3, s, 1), "b": nn.AvgPool2d(5, s, 2)},
    "pools with norms": lambda c, s: {"a": max_pool(c, s), "b": avg_pool(c, s)},
    "pools with affine norms": lambda c, s: {
        "a": nn.Sequential(nn.MaxPool2d(3, s, 1), nn.BatchNorm2d(c)),
        "b": nn.Sequential(nn.AvgPool2d(3, s, 1), nn.BatchNorm2d(c, momentum=0.3, eps=0.1)),
    },
    "separable": lambda c, s: {
        "a": SepConv(c, 3, s, affine=False),
        "b": DilConv(c, 5, s, affine=False),
        "c": SepConv(c, 7, s),
        "d": DilConv(c, 3, s, dilation=3),
    },
    "relu, convolution, norm": lambda c, s: {
        "a": ReLUConvBN(c, c, 1, s, affine=False),
        "b": ReLUConvBN(c, c, 3, s),
        "c": ReLUConvBN(c, c, 3, s),
    },
    "convolution, norm, relu": lambda c, s: {
        "a": conv_bn_relu(c, 1, s),
        "b": conv_bn_relu(c, 3, s),
    },
    "reduction": lambda c, s: {
        "a": FactorizedReduce(c, c) if s == 2 else nn.Identity(),
        "b": FactorizedReduce(c, c, affine=False) if s == 2 else Zero(),
    },
    "bare convolutions": lambda c, s: {
        "a": bare(c, 1, s),
        "b": bare(c, 5, s, bias=True),
        "c": bare(c, 3, s),
    },
    "untracked norms": lambda c, s: {
        "a": nn.Sequential(
            nn.ReLU(), nn.Conv2d(c, c, 3, s, 1, bias=False),
            nn.BatchNorm2d(c, track_running_stats=False),
        ),
        "b": nn.Sequential(nn.MaxPool2d(3, s, 1), nn.BatchNorm2d(c, track_running_stats=False)),
    },
}  # fmt: skip

SPACES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    # Builder → blocks and preprocessing modules that are served whole.
    "darts": (lambda: darts(channels=2, layers=3, nodes=2), 3 * (5 + 2)),
    "pc-darts": (lambda: darts(channels=4, layers=3, nodes=2, partial=2), 3 * (5 + 2)),
    "nasbench201": (lambda: nasbench201(channels=3, cells=1), 3 * 6),
    "nasbench201, plain norms": (lambda: nasbench201(channels=3, cells=1, affine=False), 3 * 6),
    "nasbench1shot1": (lambda: nasbench1shot1_1(channels=2, cells=1), 3 * (4 + 5)),
    "enas_micro": (lambda: enas_micro(channels=2, layers=3, nodes=2, dropout=0.0), 5 * 4),
    "enas_macro": (lambda: enas_macro(channels=2, layers=3, dropout=0.0), 3),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def spread(model: nn.Module) -> nn.Module:
    """Gives batch norms weights and statistics that tell them apart."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                if tensor is not None:
                    nn.init.uniform_(tensor, 0.5, 1.5)
    return model


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_equals_its_modules(form: str, n_blocks: int, stride: int) -> None:
    model = spread(Fan([LayerChoice(FORMS[form](3, stride), key=str(i)) for i in range(n_blocks)]))
    x = torch.randn(2, 3, 7, 6)

    assert served_blocks(WideExecutor(), model, x) == n_blocks
    equals_the_modules(WideExecutor(), model, x)


@pytest.mark.parametrize("space", SPACES)
def test_every_space_is_served_whole_and_equals_its_modules(space: str) -> None:
    build, expected = SPACES[space]
    model, x = spread(build()), torch.randn(2, 3, 8, 8)

    assert served_blocks(WideExecutor(), model, x) == expected
    equals_the_modules(WideExecutor(), model, x, SCENARIOS[:2])


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_every_space_equals_its_modules_in_every_scenario(space: str) -> None:
    equals_the_modules(WideExecutor(), spread(SPACES[space][0]()), torch.randn(2, 3, 8, 8))


def test_blocks_of_other_candidates_in_another_order_run_together() -> None:
    model = spread(Fan([
        LayerChoice({"s": SepConv(2, 3), "m": max_pool(2), "d": DilConv(2, 3)}, key="0"),
        LayerChoice([DilConv(2, 3), SepConv(2, 3), nn.Identity(), DilConv(2, 3)], key="1"),
        LayerChoice({"z": Zero()}, key="2"),
        ReLUConvBN(2, 2, 1),
    ]))  # fmt: skip
    x = torch.randn(2, 2, 5, 5)

    assert served_blocks(WideExecutor(), model, x) == 4
    equals_the_modules(WideExecutor(), model, x)


def test_what_is_unknown_runs_as_modules_and_costs_the_others_nothing() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.conv(x).sin()
            return out

    circular = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")
    model = Fan([
        LayerChoice({"sep": SepConv(2, 3), "odd": Odd()}, key="0"),
        LayerChoice({"sep": SepConv(2, 3), "pool": max_pool(2)}, key="1"),
        LayerChoice({"odd": Odd(), "odder": circular}, key="2"),
    ])  # fmt: skip

    assert served_blocks(WideExecutor(), model, torch.randn(1, 2, 4, 4)) == 1
    equals_the_modules(WideExecutor(), model, torch.randn(2, 2, 5, 5))


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (nn.Conv2d(2, 2, 3), "does not pad by 1"),
        (nn.Conv2d(2, 2, 2), "not square and odd"),
        (nn.Conv2d(2, 2, 3, padding=1, groups=2), "grouped"),
        (nn.MaxPool2d(2), "even side"),
        (nn.MaxPool2d(3, 1, 1, ceil_mode=True), "ceil_mode"),
        (nn.AvgPool2d(3, 1, 1, divisor_override=2), "divisor"),
        (nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(2, momentum=None)), "momentum=None"),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU()), "with a bias"),
        (nn.Sequential(nn.ReLU(), nn.Tanh()), "no known form (Sequential: ReLU, Tanh)"),
    ],
)  # fmt: skip
def test_what_has_no_form_says_why(candidate: nn.Module, why: str) -> None:
    from nas_plugin.execution.forms import recognise

    found = recognise(candidate)

    assert isinstance(found, str) and why in found


def test_norms_in_different_modes_within_a_candidate_fall_back_and_alone_do_not() -> None:
    mixed, frozen = SepConv(2, 3), SepConv(2, 3)
    mixed[0][3].eval()
    frozen.eval()
    model = spread(Fan([
        LayerChoice({"a": mixed, "b": SepConv(2, 3)}, key="0"),
        LayerChoice({"a": frozen, "b": SepConv(2, 3)}, key="1"),
    ]))  # fmt: skip
    x = torch.randn(2, 2, 5, 5)

    # served_blocks copies the model as it is; `equals_the_modules` sets all to one mode.
    assert served_blocks(WideExecutor(), model, x) == 1


def test_frozen_norms_keep_their_statistics_as_the_modules_do() -> None:
    from nas_plugin.choice import Binding, Decision
    from nas_plugin.execution import Dispatcher

    def outputs(dispatch: Dispatcher | None) -> list[Tensor]:
        torch.manual_seed(0)
        model = spread(Fan([LayerChoice({"a": SepConv(2, 3), "b": max_pool(2)}, key="0")])).double()
        binding = Binding("test")
        binding.attach(model)
        binding.dispatch = dispatch
        binding.decisions = {"0": Decision(torch.tensor([0.3, 0.7]).double(), (0, 1))}
        model(torch.randn(2, 2, 5, 5, dtype=torch.float64))
        # Frozen after a pass: what was planned for training is no longer right.
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        out = model(torch.randn(2, 2, 5, 5, dtype=torch.float64))
        out.sum().backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        return [out, *grads, *(b.double() for b in model.buffers())]

    for eager, wide in zip(outputs(None), outputs(Dispatcher([WideExecutor()])), strict=True):
        torch.testing.assert_close(wide, eager, rtol=1e-12, atol=1e-12)


def test_one_value_per_channel_is_refused_as_the_modules_refuse_it() -> None:
    from nas_plugin.execution import attach
    from nas_plugin.mutators import DartsMutator

    model = Fan([LayerChoice({"a": SepConv(2, 3), "b": max_pool(2)})])
    mutator = DartsMutator(model)
    for execution in ("eager", "wide"):
        attach(mutator.binding, execution)
        mutator.reset()
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            model(torch.randn(1, 2, 1, 1))


def test_a_candidate_is_not_served_if_shapes_contradict_and_the_block_says_so() -> None:
    from nas_plugin.errors import ChoiceError
    from nas_plugin.execution import attach
    from nas_plugin.mutators import DartsMutator

    model = Fan([LayerChoice({"a": nn.Identity(), "b": max_pool(2, 2)}, key="k")])
    mutator = DartsMutator(model)
    attach(mutator.binding, "wide")
    mutator.reset()

    with pytest.raises(ChoiceError, match="'k' mixes outputs of different shapes"):
        model(torch.randn(2, 2, 4, 4))


def test_a_cell_of_a_users_own_candidates_is_served() -> None:
    def edge(node: int, source: int) -> dict[str, nn.Module]:
        return {"conv": bare(3, 3, 1), "wide": bare(3, 5, 1), "pool": nn.AvgPool2d(3, 1, 1)}

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Cell("c", edge, n_nodes=2, preprocess=[ReLUConvBN(4, 3), nn.Identity()])

        def forward(self, x: Tensor) -> Any:
            return self.cell(x, x[:, :3])

    net, x = spread(Net()), torch.randn(2, 4, 5, 5)

    assert served_blocks(WideExecutor(), net, x) == 5 + 2
    equals_the_modules(WideExecutor(), net, x)


def test_wide_is_registered_and_runs_anywhere() -> None:
    assert executors.get("wide") is WideExecutor
    assert WideExecutor.unavailable() is None
