"""The space of NAS-Bench-201 as a graph."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.description import Description, ModelGraph, OneOf, Op, Repeated
from nas_plugin.errors import SpaceError
from nas_plugin.space.encodings import nasbench201 as encoding

STAGES = ("early", "middle", "late")


def describe_nasbench201(net: nn.Module) -> Description:
    """Returns the graph of a supernet."""
    stem, cells, classifier = net.stem, net.cells, net.classifier
    n = (len(cells) - 2) // 3
    edge = cells[0].edges["edge_1_0"]
    if not isinstance(edge, LayerChoice) or edge.partial > 1:
        raise SpaceError("Only a supernet with partial=1 can be described, nothing fixed.")
    cell = cell_graph(affine=edge["nor_conv_1x1"][2].affine)
    graph = ModelGraph({"image": (stem[0].in_channels, 32, 32)})
    graph.add_node("stem", Op("conv_bn", c_out=stem[0].out_channels))
    prefixes = {"last.batch_norm": "last.0"}
    for s, stage in enumerate(STAGES):
        if s > 0:
            name, old = f"reduction_{s}", f"cells.{s * (n + 1) - 1}"
            graph.add_node(name, reduction_graph())
            prefixes[f"{name}.conv_1"], prefixes[f"{name}.conv_2"] = (
                f"{old}.body.0",
                f"{old}.body.1",
            )
            prefixes[f"{name}.shortcut.conv"] = f"{old}.shortcut.1"
        graph.add_node(stage, Repeated(cell, n))
        for i in range(n):
            for target, source in encoding.EDGES:
                new = f"{stage}.{i}.edges.n{target}.{vertex(source)}"
                prefixes[new] = f"cells.{s * (n + 1) + i}.edges.edge_{target}_{source}"
    graph.add_node("last", ["batch_norm", "relu"])
    graph.add_node("mean", "spatial_mean")
    graph.add_node("classifier", Op("linear", c_out=classifier.out_features))
    return Description.of_prefixes(graph, prefixes)


def cell_graph(*, affine: bool) -> ModelGraph:
    """Returns the cell: three nodes that read every node before."""
    candidates: Mapping[str, Op] = {
        "none": Op("zero", keep=True),
        "skip_connect": Op("identity"),
        "nor_conv_1x1": Op("relu_conv_bn", kernel=1, affine=affine),
        "nor_conv_3x3": Op("relu_conv_bn", kernel=3, affine=affine),
        "avg_pool_3x3": Op("avg_pool", norm=False),
    }
    graph = ModelGraph(name="cell")
    for target in (1, 2, 3):
        edges = {
            vertex(source): OneOf(candidates, f"edge_{target}_{source}")
            for t, source in encoding.EDGES
            if t == target
        }
        graph.add_node(f"n{target}", inputs=edges)
    return graph


def reduction_graph() -> ModelGraph:
    """Returns the residual block that halves the maps and doubles the channels."""
    graph = ModelGraph(name="reduction")
    double = "2 * c_in"
    shortcut = ["average_halves", Op("conv", c_out=double, bias=False)]
    graph.add_node("shortcut", shortcut)
    first = Op("relu_conv_bn", c_out=double, kernel=3, stride=2)
    graph.add_node("conv_1", first, inputs="input")
    graph.add_node("conv_2", Op("relu_conv_bn", kernel=3))
    graph.add_node("out", inputs=["shortcut", "conv_2"])
    return graph


def vertex(source: int) -> str:
    """Returns the name of a node of the cell."""
    return "input" if source == 0 else f"n{source}"
