"""Several nodes as one, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import networkx

from nas_plugin.description.expression import Amount
from nas_plugin.description.names import checked_name, free_name
from nas_plugin.description.operation import GraphView, Link, Node
from nas_plugin.description.rewrite import names_used, under_key, with_amounts
from nas_plugin.errors import DescriptionError

Nodes = dict[str, Node]


def nested(
    graph: GraphView, names: Sequence[str], name: str, key: str | None
) -> tuple[Nodes, tuple[str, ...]]:
    """Returns the nodes and outputs of a graph in which some nodes became one.

    Raises:
        DescriptionError: If not exactly one of them is read from outside, or a way leaves them and
            comes back.
    """
    inside = [n for n in graph.nodes if n in set(names)]
    if not inside:
        raise DescriptionError("Give at least one node to be nested.")
    if name in graph.inputs or (name in graph.nodes and name not in inside):
        raise DescriptionError(f"There is a node '{name}' already. Choose another name.")
    digraph = graph.digraph
    below = set().union(*(networkx.descendants(digraph, n) for n in inside)) - set(inside)
    back = [n for n in inside if below & set(graph.nodes[n].sources)]
    if back:
        raise DescriptionError(
            f"Node '{back[0]}' depends on the others by a way through nodes outside. Nest these "
            "too.", (back[0],),
        )  # fmt: skip
    leaving = [
        n for n in inside
        if n in graph.outputs or any(r not in inside for r in graph.readers(n))
    ]  # fmt: skip
    if len(leaving) != 1:
        raise DescriptionError(
            f"Exactly one of the nested nodes may be read from outside, found {leaving}."
        )
    entering = dict.fromkeys(
        s for n in inside for s in graph.nodes[n].sources if s not in inside
    )  # fmt: skip
    used = set().union(*(names_used(graph.nodes[n]) for n in inside))
    own = {p: p for p in graph.parameters if p in used}
    empty = type(graph)(list(entering), parameters=own, key=key)
    part = empty.with_nodes({n: graph.nodes[n] for n in inside})
    if part.outputs != tuple(leaving):
        part = part.with_nodes(part.nodes, leaving)
    part = part.frozen()
    whole = Node(part, tuple(Link(s) for s in entering), "apart" if len(entering) > 1 else "sum")
    nodes: Nodes = {}
    for n, node in graph.nodes.items():
        if n not in inside:
            nodes[n] = _reading(node, {leaving[0]: name})
        elif n == leaving[0]:
            nodes[checked_name(name)] = whole
    set_before = graph.outputs if graph.outputs_are_set else ()
    return nodes, tuple(name if output == leaving[0] else output for output in set_before)


def unnested(graph: GraphView, name: str) -> tuple[Nodes, tuple[str, ...]]:
    """Returns the nodes and outputs of a graph in which a sub-graph's nodes stand by themselves.

    Raises:
        DescriptionError: If the node holds no sub-graph.
    """
    node = graph.nodes[name]
    part = node.operation
    if not isinstance(part, GraphView):
        raise DescriptionError(f"Node '{name}' holds no sub-graph to be unnested.", (name,))
    taken = {*graph.inputs, *graph.nodes} - {name}
    renamed: dict[str, str] = {}
    added: Nodes = {}
    for position, inner in enumerate(part.inputs):
        edges = node.edges if node.join != "apart" else node.edges[position : position + 1]
        if len(edges) == 1 and edges[0].operation is None and node.join in ("sum", "apart"):
            renamed[inner] = edges[0].source
            continue
        renamed[inner] = free_name(f"{name}_{inner}", taken)
        taken.add(renamed[inner])
        added[renamed[inner]] = Node(None, edges, "sum" if node.join == "apart" else node.join)
    for inner in part.nodes:
        renamed[inner] = inner if inner not in taken else free_name(f"{name}_{inner}", taken)
        taken.add(renamed[inner])
    for inner, old in part.nodes.items():
        placed = _reading(under_key(old, inner, part), renamed)
        added[renamed[inner]] = _with_amounts(placed, part.parameters)
    (output,) = part.outputs
    nodes: Nodes = {}
    for n, old in graph.nodes.items():
        if n == name:
            nodes.update(added)
        else:
            nodes[n] = _reading(old, {name: renamed[output]})
    set_before = graph.outputs if graph.outputs_are_set or name in graph.outputs else ()
    outputs = tuple(renamed[output] if o == name else o for o in set_before)
    read = {s for node in nodes.values() for s in node.sources}
    if not graph.outputs_are_set and outputs == tuple(n for n in nodes if n not in read):
        outputs = ()
    return nodes, outputs


def _reading(node: Node, names: dict[str, str]) -> Node:
    """Returns a node that reads others under other names."""
    edges = tuple(replace(edge, source=names.get(edge.source, edge.source)) for edge in node.edges)
    return replace(node, edges=edges)


def _with_amounts(node: Node, amounts: Mapping[str, Amount]) -> Node:
    """Returns a node with the parameters of its graph replaced by what they stand for."""
    edges = tuple(
        e if e.operation is None else replace(e, operation=with_amounts(e.operation, amounts))
        for e in node.edges
    )
    operation = None if node.operation is None else with_amounts(node.operation, amounts)
    return replace(node, operation=operation, edges=edges)
