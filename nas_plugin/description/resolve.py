"""A graph with an architecture's choices made; what was not chosen, or is not read, is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas_plugin.description.expression import Number, evaluate
from nas_plugin.description.graph import ModelGraph
from nas_plugin.description.join import AnyOf, Join
from nas_plugin.description.keys import joined, keyed, names_of
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Link, Node, OneOf, Operation, Repeated
from nas_plugin.errors import ArchitectureError

Chosen = Mapping[str, Any]


def resolved(graph: ModelGraph, chosen: Chosen) -> tuple[ModelGraph, dict[str, str]]:
    """Returns the graph of an architecture.

    Args:
        graph: A graph with choices.
        chosen: Key → choice, in canonical form: without the keys that do not matter.

    Returns:
        The graph, and path of a module in it → path in the fixed model, where they differ.

    Raises:
        ArchitectureError: If a choice is missing.
    """
    resolver = _Resolver(chosen)
    names: dict[str, Number] = {}
    for name, amount in graph.parameters.items():
        names[name] = evaluate(amount, names)
    found, _ = resolver.graph(graph, "", "", "", "", names)
    return found, resolver.renamed


class _Resolver:
    """Makes choices.

    A place is a path of keys below `base`; `here` and `there` are paths of modules, in the graph
    that is made and in the model that is fixed.
    """

    def __init__(self, chosen: Chosen) -> None:
        self.chosen = chosen
        self.renamed: dict[str, str] = {}

    def graph(
        self, graph: GraphView, base: str, place: str, here: str, there: str,
        names: Mapping[str, Number],
    ) -> tuple[ModelGraph, Sequence[int]]:  # fmt: skip
        """Returns a graph without choices, and the positions of the inputs that it still reads."""
        if graph.key is not None:
            base, place = graph.key, ""
        taken = {name: self.taken(node, name, base, place) for name, node in graph.nodes.items()}
        read = {s for n, node in graph.nodes.items() if node.join != "loose"
                for s in (node.sources[i] for i in taken[n])}  # fmt: skip
        nodes: dict[str, Node] = {}
        for name in reversed(graph.order()):
            if name in self.reached(graph, nodes):
                kept = taken[name]
                if graph.nodes[name].join == "loose":
                    kept = [i for i, s in enumerate(graph.nodes[name].sources) if s not in read]
                paths = (joined(place, name), _dotted(here, name), _dotted(there, name))
                nodes[name] = self.node(graph.nodes[name], kept, name, base, place, paths, names)
        reached = self.reached(graph, nodes)
        inputs = {name: shape for name, shape in graph.inputs.items() if name in reached}
        found = ModelGraph(inputs, parameters=graph.parameters, name=graph.name)
        ordered = {name: nodes[name] for name in graph.nodes if name in nodes}
        found = found.with_nodes(ordered, graph.outputs if graph.outputs_are_set else ())
        return found.frozen(), [i for i, name in enumerate(graph.inputs) if name in inputs]

    def reached(self, graph: GraphView, nodes: Mapping[str, Node]) -> set[str]:
        """Returns the outputs and what the nodes read that were kept so far."""
        return {*graph.outputs, *(s for node in nodes.values() for s in node.sources)}

    def node(
        self, node: Node, kept: Sequence[int], name: str, base: str, place: str,
        paths: tuple[str, str, str], names: Mapping[str, Number],
    ) -> Node:  # fmt: skip
        edges, join = list(node.edges), _without_choice(node.join)
        operation, inputs = node.operation, range(len(edges))
        if operation is not None and kept:
            operation, wanted = self.operation(operation, base, *paths, names)
            inputs = wanted if node.join == "apart" else inputs  # type: ignore[assignment]
            if node.join == "apart" and len(inputs) == 1:
                join = "sum"
        if not kept:  # zeros, of the shape of the first input
            kept, operation, join = [0], Op("zero"), "sum"
        found = []
        for i in kept:
            if i in inputs:
                found.append(self.edge(edges[i], name, base, place, paths, names))
        return Node(operation, tuple(found), join)

    def edge(
        self, edge: Link, target: str, base: str, place: str, paths: tuple[str, str, str],
        names: Mapping[str, Number],
    ) -> Link:  # fmt: skip
        if edge.operation is None:
            return edge
        where = f"edges/{target}/{edge.source}"
        modules = [
            path.removesuffix(target) + where.replace("/", ".") for path in paths[1:]
        ]  # fmt: skip
        operation, _ = self.operation(
            edge.operation, base, joined(place, where), modules[0], modules[1], names
        )
        return Link(edge.source, operation)

    def operation(
        self, operation: Operation, base: str, place: str, here: str, there: str,
        names: Mapping[str, Number],
    ) -> tuple[Operation, Sequence[int]]:  # fmt: skip
        """Returns an operation without choices, and which of its inputs it still reads."""
        if isinstance(operation, Op) or not any(keyed(operation, "", "", ())):
            n = len(operation.inputs) if isinstance(operation, GraphView) else 1
            return operation, range(n)
        if isinstance(operation, GraphView):
            known: dict[str, Number] = {}
            for name, amount in operation.parameters.items():
                if not (isinstance(amount, str) and "c_in" in amount):
                    known[name] = evaluate(amount, names)
            return self.graph(operation, base, place, here, there, known)
        if operation.key is not None:
            base, place = operation.key, ""
        if isinstance(operation, OneOf):
            name = self.value(joined(base, place))
            candidate = dict(operation.candidates)[name]
            return self.operation(candidate, base, joined(place, name), here, there, names)
        return self.repeated(operation, base, place, here, there, names), range(1)

    def repeated(
        self, repeated: Repeated, base: str, place: str, here: str, there: str,
        names: Mapping[str, Number],
    ) -> Operation:  # fmt: skip
        inner, times = repeated.operation, repeated.times
        n: int | None = None
        if isinstance(times, tuple):
            n, times = self.value(joined(base, place)), times[1]
        own = any(k.key != again.key for k, again in zip(
            keyed(inner, "0", "0", ()), keyed(inner, "1", "1", ()), strict=True))  # fmt: skip
        if not own:
            found, _ = self.operation(
                inner, base, joined(place, "0"), _dotted(here, "0"), _dotted(there, "0"), names
            )
            return Repeated(found, times if n is None else int(n))
        count = int(evaluate(times, names) if n is None else n)
        graph = ModelGraph()
        with graph.editing():
            for i in range(count):
                name = f"block_{i}"
                new, old = _dotted(here, name), _dotted(there, str(i))
                self.renamed[new] = old
                found, _ = self.operation(inner, base, joined(place, str(i)), new, old, names)
                graph.add_node(name, found)
        return graph.frozen() if count else Op("identity")

    def taken(self, node: Node, name: str, base: str, place: str) -> Sequence[int]:
        """Returns which inputs the join of a node takes."""
        if not isinstance(node.join, AnyOf):
            return range(len(node.edges))
        key = node.join.key or joined(base, joined(place, f"joins/{name}"))
        candidates = names_of(node)
        return sorted(candidates.index(value) for value in self.value(key))

    def value(self, key: str) -> Any:
        if key not in self.chosen:
            raise ArchitectureError(f"The architecture lacks the key '{key}' of the description.")
        return self.chosen[key]


def _without_choice(join: Join) -> Join:
    if isinstance(join, AnyOf):
        return join.join
    return "sum" if join == "loose" else join


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
