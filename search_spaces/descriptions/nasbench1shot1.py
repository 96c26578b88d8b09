"""The spaces of NAS-Bench-1Shot1 and NAS-Bench-101 as graphs."""

from __future__ import annotations

from typing import Any

from torch import nn

from nas_plugin.choice import InputChoice
from nas_plugin.description import AnyOf, Description, ModelGraph, OneOf, Op, Repeated
from nas_plugin.errors import SpaceError

OPERATIONS = {
    "maxpool3x3": Op("max_pool", norm=False),
    "conv3x3-bn-relu": Op("conv_bn_relu", kernel=3),
    "conv1x1-bn-relu": Op("conv_bn_relu", kernel=1),
}


def describe_nasbench1shot1(net: nn.Module) -> Description:
    """Returns the graph of a supernet."""
    stem, classifier = net.cells[0], net.classifier
    n = (len(net.cells) - 3) // 3
    graph = ModelGraph({"image": (stem[0].in_channels, 32, 32)})
    graph.add_node("stem", Op("conv_bn_relu", kernel=3, c_out=stem[0].out_channels))
    prefixes = {"stem": "cells.0"}
    place, c = 1, stem[0].out_channels
    for s, stage in enumerate(("early", "middle", "late")):
        if s > 0:
            graph.add_node(f"smaller_{s}", "max_halves")
            place, c = place + 1, 2 * c
        cell = cell_graph(net.cells[place], c)
        graph.add_node(stage, Repeated(cell, n))
        for i in range(n):
            for name in cell.nodes:
                new, old = f"{stage}.{i}", f"cells.{place}"
                prefixes[f"{new}.edges.{name}.input"] = f"{old}.projections.{name}"
                prefixes[f"{new}.{name}"] = f"{old}.ops.{name}"
            place += 1
    graph.add_node("mean", "spatial_mean")
    graph.add_node("classifier", Op("linear", c_out=classifier.out_features))
    return Description.of_prefixes(graph, prefixes)


def cell_graph(cell: Any, c: int) -> ModelGraph:
    """Returns a cell of c channels: each vertex reads a choice of all before it.

    Raises:
        SpaceError: If it is fixed already.
    """
    graph = ModelGraph(parameters={"c": c}, name="cell")
    for name in cell.names[1:]:
        parents = cell.parents[name]
        if not isinstance(parents, InputChoice):
            raise SpaceError("Only a supernet can be described, nothing fixed.")
        edges: dict[str, Any] = {"input": Op("conv_bn_relu", kernel=1, c_out="c")}
        edges.update(dict.fromkeys(graph.nodes))
        operation = None
        if name in cell.ops:
            found = {op: OPERATIONS[op] for op in cell.ops[name].names}
            operation = OneOf(found, cell.ops[name].given_key)
        join = AnyOf(parents.n_chosen, parents.given_key)
        graph.add_node(name, operation, inputs=edges, join=join)
    return graph
