"""Operations by name: what may be registered, and what descriptions make of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_plugin import operations
from nas_plugin.description import ModelGraph, Op, compile_graph
from nas_plugin.errors import DescriptionError, OptionError
from nas_plugin.profiling import profile


@pytest.fixture
def scaled():
    @operations.register("scaled_conv")
    def scaled_conv(c_in: int, c_out: int, kernel: int = 3, mode: str = "zeros") -> nn.Module:
        return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, padding_mode=mode, bias=False)

    yield scaled_conv
    operations.operations._members.pop("scaled_conv")


def test_an_operation_of_ones_own_is_choosable_and_counted(scaled):
    graph = ModelGraph({"x": (2, 8, 8)})
    graph.add_node("a", Op("scaled_conv", kernel=5, mode="circular", c_out=3))

    model = compile_graph(graph)

    assert model.a.padding_mode == "circular"
    assert profile(model, (2, 8, 8)).params == 2 * 3 * 25
    # Circular padding is no multiplication: 2 operations a weight and output pixel.
    assert profile(model, (2, 8, 8)).flops == 2 * 2 * 3 * 25 * 64
    with pytest.raises(DescriptionError, match="kernel is int, got"):
        graph.add_node("b", Op("scaled_conv", kernel=1.5))


def test_what_an_operation_does_wrong_is_said_with_its_node():
    @operations.register("broken_op")
    def broken_op(c: int, how: str = "raises") -> nn.Module:
        if how == "raises":
            raise ZeroDivisionError("inside")
        return nn.LSTM(4, 4) if how == "tuple" else None  # type: ignore[return-value]

    graph = ModelGraph({"x": (4, 4)})
    try:
        for how, said in {
            "raises": "'a': Operation 'broken_op' cannot be made with c=4, how='raises': inside",
            "none": "'a': Operation 'broken_op' gave a NoneType",
            "tuple": "'a': operation 'broken_op' makes tuple",
        }.items():
            with pytest.raises(DescriptionError, match=said):
                graph.add_node("a", Op("broken_op", how=how))
    finally:
        operations.operations._members.pop("broken_op")


@pytest.mark.parametrize(
    ("name", "factory", "said"),
    [
        ("mine", lambda *sizes: nn.Identity(), "'mine'.*Spell every argument out"),
        ("mine", lambda **sizes: nn.Identity(), "Spell every argument out"),
        ("mine", lambda c, c_in: nn.Identity(), "c and c_in, which are the same"),
        ("mine", lambda name: nn.Identity(), "uses 'name' for the operation itself"),
        ("conv", lambda c: nn.Identity(), "'conv' is taken"),
        ("my op", lambda c: nn.Identity(), "lower-case letters"),
        ("mine", 3, "must be a class or function"),
    ],
)
def test_a_signature_that_no_description_can_fill_is_refused(name, factory, said):
    with pytest.raises(OptionError, match=said):
        operations.register(name)(factory)
    assert "mine" not in operations.operations


@pytest.mark.parametrize("name", operations.operations.names())
def test_every_operation_runs_on_a_small_image(name):
    graph = ModelGraph({"x": (4, 8, 8)})
    vector = name == "linear"
    if vector:
        graph.add_node("vector", "global_avg_pool")
    graph.add_node("a", Op(name, kernel=3) if name in ("dil_conv", "sep_conv") else name)

    out = compile_graph(graph).eval()(torch.ones(2, 4, 8, 8))

    assert out.shape[:2] == (2, 4 if name != "flatten" else 256)
