"""Random graphs, for hypothesis."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from nas_plugin.description import AnyOf, ModelGraph, OneOf, Op, Repeated

C, SIZE = 4, 6
NAMES = ("a", "b", "c", "d", "e", "f")
_numbers = itertools.count()
#: No key, or a new one: blocks share it only inside what is repeated.
KEYS = st.booleans().map(lambda given: f"k{next(_numbers)}" if given else None)

#: Operations that keep the shape, so that everything can be joined.
PLAIN = st.one_of(
    st.sampled_from(["identity", "relu", Op("max_pool", norm=False), Op("conv", kernel=3)]),
    st.sampled_from([Op("conv", bias=False), Op("conv", c_out="c_in"), "batch_norm"]),
    st.just(Op("conv", kernel=1, groups="c_in // 2")),
)


def operations(depth: int) -> st.SearchStrategy[Any]:
    """Operations up to a depth of nesting."""
    if depth == 0:
        return PLAIN
    below = operations(depth - 1)
    return st.one_of(
        PLAIN,
        st.lists(below, min_size=1, max_size=3),
        st.builds(one_of, st.lists(below, min_size=1, max_size=3), KEYS),
        st.builds(Repeated, below, st.integers(0, 2)),
        st.builds(Repeated, below, st.just((0, 2)), KEYS),
        graphs(depth - 1, n_inputs=1),
    )


def one_of(candidates: list[Any], key: str | None) -> OneOf:
    return OneOf({f"o{i}": candidate for i, candidate in enumerate(candidates)}, key)


@st.composite
def graphs(draw: Any, depth: int = 2, n_inputs: int | None = None) -> ModelGraph:
    """Draws a graph of one output, all of whose shapes are ``(C, SIZE, SIZE)``."""
    n = draw(st.integers(1, 2)) if n_inputs is None else n_inputs
    inputs = ["x", "y"][:n]
    shapes = dict.fromkeys(inputs, (C, SIZE, SIZE)) if draw(st.booleans()) else inputs
    parameters = {"width": 2} if draw(st.booleans()) else {}
    graph = ModelGraph(
        shapes,
        parameters=parameters,
        key=draw(KEYS),
        name=draw(st.sampled_from([None, "part", "piece"])),
    )
    below = operations(depth)
    for name in NAMES[: draw(st.integers(1, 4))]:
        known = [*inputs, *graph.nodes]
        sources = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
        edges = {s: draw(st.one_of(st.none(), below)) for s in sources}
        add(draw, graph, name, edges, depth)
    unread = list(graph.outputs)
    if len(unread) > 1:
        graph.add_node("last", inputs=unread, join=draw(st.sampled_from(["sum", "mean"])))
    if draw(st.booleans()):
        graph.set_outputs(*graph.outputs)
    return graph


def add(draw: Any, graph: ModelGraph, name: str, edges: dict[str, Any], depth: int) -> None:
    """Adds a node of a drawn kind."""
    kind = draw(st.sampled_from(["sum", "mean", "any", "concat", "graph"]))
    operation = draw(st.one_of(st.none(), operations(depth)))
    if kind == "concat":
        graph.add_node(name, Op("conv", c_out=C), inputs=edges, join="concat")
    elif kind == "any":
        n = draw(st.one_of(st.none(), st.integers(1, len(edges))))
        join = AnyOf(n, draw(KEYS), draw(st.sampled_from(["sum", "mean"])))
        graph.add_node(name, operation, inputs=edges, join=join)
    elif kind == "graph" and depth and len(edges) == 2:
        graph.add_node(name, draw(graphs(depth - 1, n_inputs=2)), inputs=edges)
    elif kind == "graph" and graph.parameters and not operation:
        graph.add_node(name, Op("conv", c_out=f"{C // 2} * width"), inputs=edges)
    else:
        graph.add_node(name, operation, inputs=edges, join="mean" if kind == "mean" else "sum")
