"""The micro space of ENAS as a graph."""

from __future__ import annotations

from typing import Any

from torch import nn

from nas_plugin.choice import LayerChoice
from nas_plugin.description import AnyOf, Description, ModelGraph, OneOf, Op
from nas_plugin.errors import SpaceError
from nas_plugin.operations import FactorizedReduce

OPERATIONS = {
    "sepconv3x3": Op("sep_conv", kernel=3),
    "sepconv5x5": Op("sep_conv", kernel=5),
    "avgpool": Op("avg_pool"),
    "maxpool": Op("max_pool"),
    "identity": Op("identity"),
}


def describe_enas_micro(net: nn.Module) -> Description:
    """Returns the graph of a supernet, without its auxiliary head."""
    stem, classifier = net.stem, net.classifier
    graph = ModelGraph({"image": (stem[0].in_channels, 32, 32)})
    graph.add_node("stem", Op("conv_bn", c_out=stem[0].out_channels))
    # The first cell reads the stem twice, and a node reads another once.
    graph.add_node("stem_again")
    prefixes: dict[str, str] = {}
    before_last, last = "stem_again", "stem"
    for i, cell in enumerate(net.cells):
        part, inside = cell_graph(cell)
        graph.add_node(f"cell_{i}", part, inputs=[before_last, last])
        before_last, last = last, f"cell_{i}"
        prefixes.update({f"{last}.{new}": f"cells.{i}.{old}" for new, old in inside.items()})
    graph.add_node("mean", ["relu", "spatial_mean"])
    graph.add_node("dropped", Op("dropout", p=net.dropout.p))
    graph.add_node("classifier", Op("linear", c_out=classifier.out_features))
    return Description.of_prefixes(graph, prefixes)


def cell_graph(cell: Any) -> tuple[ModelGraph, dict[str, str]]:
    """Returns the graph of a cell, and path of a module in it → path in the cell.

    Raises:
        SpaceError: If it is fixed already.
    """
    base = cell.nodes[0].given_key.removesuffix("_2")
    kind, c = base.removesuffix("_node"), cell.norm.num_features
    graph = ModelGraph(["before_last", "last"], parameters={"c": c}, name=kind)
    names = [f"{base}_0", f"{base}_1"]
    prefixes = {names[0]: "first", names[1]: "second", "out": "norm"}
    for name, source, module in zip(
        names, graph.inputs, (cell.first, cell.second), strict=True
    ):  # fmt: skip
        reduces = isinstance(module, FactorizedReduce)
        op = Op("factorized_reduce" if reduces else "relu_conv_bn", c_out="c")
        graph.add_node(name, op, inputs=source)
    for j, node in enumerate(cell.nodes):
        for side in ("x", "y"):
            block = getattr(node, f"{side}_op")
            if not isinstance(block, LayerChoice):
                raise SpaceError("Only a supernet can be described, nothing fixed.")
            found = {op: OPERATIONS[op] for op in block.names}
            key, new = node.given_key, f"{side}_{j + 2}"
            graph.add_node(
                new,
                OneOf(found, f"{key}/{side}_op"),
                inputs=names,
                join=AnyOf(1, f"{key}/{side}_input"),
            )
            prefixes[new] = f"nodes.{j}.{side}_op"
        graph.add_node(key, inputs=[f"x_{j + 2}", f"y_{j + 2}"])
        names = [*names, key]
    loose = {name: ["relu", Op("conv", bias=False)] for name in names}
    graph.add_node("out", "batch_norm", inputs=loose, join="loose")
    for j, name in enumerate(names):
        prefixes[f"edges.out.{name}.conv"] = f"joins.{j}.1"
    return graph, prefixes
