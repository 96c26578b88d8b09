"""Draws a model description: the whole graph, and below it every sub-graph once."""

from __future__ import annotations

from nas_plugin.description.join import AnyOf
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Node, OneOf, Operation, Repeated, inner
from nas_plugin.description.write import bare
from nas_plugin.reporting._svg import document, shortened
from nas_plugin.reporting.architecture_svg import stacked
from nas_plugin.reporting.cell_svg import CellDrawing, Edge


def draw_graph(graph: GraphView, title: str | None = None) -> str:
    """Returns one SVG file with a graph and the sub-graphs that it is made of.

    Args:
        graph: The graph.
        title: Set above it.
    """
    parts = {graph.frozen(): "model"} | {
        part: part.name or "graph" for part in _sub_graphs(graph.frozen())
    }
    pictures = [drawing(part).picture(name) for part, name in parts.items()]
    return document(stacked(pictures, title), title or "model description")


def drawing(graph: GraphView) -> CellDrawing:
    """Returns a graph as boxes and arrows: nodes with their operation, edges with theirs."""
    boxes = {name: name for name in graph.inputs}
    boxes |= {name: _box(name, node) for name, node in graph.nodes.items()}
    edges = [
        Edge(boxes[e.source], boxes[name], "" if e.operation is None else label(e.operation))
        for name, node in graph.nodes.items()
        for e in node.edges
    ]
    return CellDrawing(list(boxes.values()), edges)


def label(operation: Operation) -> str:
    """Returns an operation in a few words."""
    if isinstance(operation, Op):
        return operation.name
    if isinstance(operation, OneOf):
        return " | ".join(name for name, _ in operation.candidates)
    if isinstance(operation, Repeated):
        times = operation.times
        shown = f"{times[0]}…{times[1]}" if isinstance(times, tuple) else str(times)
        return f"{label(operation.operation)} × {shown}"
    if operation.name or _branches(operation):
        return operation.name or "graph"
    return ", ".join(label(part) for part in operation.operations()) or "graph"


def _box(name: str, node: Node) -> str:
    join = node.join
    if isinstance(join, AnyOf):
        shown = "any" if join.n is None else f"any {join.n}"
    else:
        shown = "" if join in ("sum", "apart") else join
    words = [shown, "" if node.operation is None else label(node.operation)]
    said = ", ".join(word for word in words if word)
    return f"{name}: {shortened(said, 30)}" if said else name


def _sub_graphs(operation: Operation) -> dict[GraphView, None]:
    """Returns the sub-graphs with names of their own, outer ones first, each form once."""
    found: dict[GraphView, None] = {}
    for part in inner(operation):
        if isinstance(part, GraphView) and (part.name or _branches(part)):
            form = bare(part)
            assert isinstance(form, GraphView)
            found[form] = None
        found |= _sub_graphs(part)
    return found


def _branches(graph: GraphView) -> bool:
    return any(len(node.edges) > 1 for node in graph.nodes.values())
