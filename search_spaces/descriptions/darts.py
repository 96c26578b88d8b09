"""The space of DARTS as a graph."""

from __future__ import annotations

from typing import Any

from torch import nn

from nas_plugin.choice import Cell, LayerChoice
from nas_plugin.description import AnyOf, Description, ModelGraph, OneOf, Op
from nas_plugin.errors import SpaceError
from nas_plugin.operations import FactorizedReduce


def describe_darts(net: nn.Module) -> Description:
    """Returns the graph of a network that is not fixed, without its auxiliary head."""
    stem, classifier, cells = net.stem, net.classifier, net.cells
    graph = ModelGraph({"image": (stem[0].in_channels, 32, 32)})
    graph.add_node("stem", Op("conv_bn", c_out=stem[0].out_channels))
    # The first cell reads the stem twice, and a node reads another once.
    graph.add_node("stem_again")
    prefixes: dict[str, str] = {}
    before_last, last = "stem_again", "stem"
    for i, cell in enumerate(cells):
        part, inside = cell_graph(cell)
        graph.add_node(f"cell_{i}", part, inputs=[before_last, last])
        before_last, last = last, f"cell_{i}"
        prefixes.update({f"{last}.{new}": f"cells.{i}.{old}" for new, old in inside.items()})
    graph.add_node("pool", "global_avg_pool")
    graph.add_node("classifier", Op("linear", c_out=classifier.out_features))
    return Description.of_prefixes(graph, prefixes)


def cell_graph(cell: Cell) -> tuple[ModelGraph, dict[str, str]]:
    """Returns the graph of a cell, and path of a module in it → path in the cell."""
    key, c = str(cell.given_key), cell.preprocess[1][1].out_channels
    graph = ModelGraph(["before_last", "last"], parameters={"c": c}, name=key)
    prefixes: dict[str, str] = {}
    for j, source in enumerate(graph.inputs):
        graph.add_node(f"pre_{j}", preprocess(cell.preprocess[j]), inputs=source)
        prefixes[f"pre_{j}"] = f"preprocess.{j}"
    sources = ["pre_0", "pre_1", *(f"n{n}" for n in range(2, 2 + cell.n_nodes))]
    for n in range(2, 2 + cell.n_nodes):
        edges = {}
        for j, source in enumerate(sources[:n]):
            edges[source], inside = edge_choice(cell.edges[f"n{n}_p{j}"], f"{key}_n{n}_p{j}")
            new, old = f"edges.n{n}.{source}", f"edges.n{n}_p{j}"
            prefixes[new] = old
            prefixes.update({f"{new}.{a}": f"{old}.{b}" for a, b in inside.items()})
        graph.add_node(f"n{n}", inputs=edges, join=AnyOf(2, f"{key}_n{n}_switch"))
    graph.add_node("out", inputs=sources[2:], join="concat")
    return graph, prefixes


def preprocess(module: Any) -> Op:
    """Returns what brings an input of a cell to its channels."""
    reduces = isinstance(module, FactorizedReduce)
    affine = (module.norm if reduces else module[2]).affine
    return Op("factorized_reduce" if reduces else "relu_conv_bn", c_out="c", affine=affine)


def edge_choice(block: nn.Module, key: str) -> tuple[OneOf, dict[str, str]]:
    """Returns the choice of an edge, and path of a module in it → path in the block.

    Raises:
        SpaceError: If the network is fixed already, or candidates see a part of the channels.
    """
    if not isinstance(block, LayerChoice) or block.partial > 1:
        raise SpaceError(
            "Only a supernet whose candidates see all channels can be described. Leave partial=1, "
            "and describe(space, architecture) rather than what was fixed."
        )
    found: dict[str, Any] = {}
    prefixes: dict[str, str] = {}
    for name in block.names:
        op, dropped = operation(name, block[name])
        found[name] = [op, "drop_path"] if dropped else op
        if dropped:
            prefixes[f"{name}.{op.name}"] = f"{name}.0"
    return OneOf(found, key), prefixes


def operation(name: str, module: Any) -> tuple[Op, bool]:
    """Returns a candidate, and whether a `DropPath` follows it."""
    dropped = isinstance(module, nn.Sequential) and type(module[-1]).__name__ == "DropPath"
    inner = module[0] if dropped else module
    pool = inner[0] if name.endswith("pool") and isinstance(inner, nn.Sequential) else inner
    if name in ("none", "noise"):
        return Op("zero" if name == "none" else "noise", stride=inner.stride), dropped
    if name == "skipconnect":
        if isinstance(inner, nn.Identity):
            return Op("skip_connect"), dropped
        return Op("skip_connect", stride=2, affine=inner.norm.affine), dropped
    if name in ("maxpool", "avgpool"):
        kind = "max_pool" if name == "maxpool" else "avg_pool"
        return Op(kind, stride=pool.stride, norm=pool is not inner), dropped
    first = inner[0] if name.startswith("sep") else inner  # separable ones are two in a row
    (stride, _), (kernel, _) = first[1].stride, first[1].kernel_size
    kind = "sep_conv" if name.startswith("sep") else "dil_conv"
    return Op(kind, kernel=kernel, stride=stride, affine=first[3].affine), dropped
