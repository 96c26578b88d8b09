"""What an architecture leaves of a graph."""

from __future__ import annotations

import torch

from nas_plugin import apply_fixed_architecture
from nas_plugin.description import AnyOf, ModelGraph, Op, compile_graph, describe


def net(n: int | None) -> ModelGraph:
    graph = ModelGraph({"x": (2, 4, 4)})
    graph.add_node("a", "conv")
    graph.add_node("b", "conv", inputs="x")
    graph.add_node("out", Op("conv"), inputs=["a", "b"], join=AnyOf(n, "pick"))
    return graph


def test_what_was_not_chosen_is_gone():
    found = describe(net(1), {"pick": ["b"]}).graph

    assert list(found.nodes) == ["b", "out"] and found.nodes["out"].sources == ("b",)


def test_nothing_chosen_gives_zeros_and_runs_no_operation():
    x = torch.ones(2, 2, 4, 4)
    fixed = apply_fixed_architecture(compile_graph(net(None)), {"pick": []})
    found = compile_graph(describe(net(None), {"pick": []}).graph)

    assert not fixed(x).any() and not found(x).any()
