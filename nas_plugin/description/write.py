"""From a graph to YAML, as short as `read` understands it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from nas_plugin.description.graph import chain_names
from nas_plugin.description.join import AnyOf
from nas_plugin.description.names import free_name
from nas_plugin.description.op import Op, Value
from nas_plugin.description.operation import (
    GraphView,
    Node,
    OneOf,
    Operation,
    Repeated,
    inner,
    n_inputs,
)
from nas_plugin.files import Block, dump_yaml, write_atomic
from nas_plugin.files.read import PathLike
from nas_plugin.operations.registry import operations


def to_yaml(graph: GraphView) -> str:
    """Returns YAML text from which `from_yaml` makes an equal graph.

    What occurs more than once, and every sub-graph with a name, is defined under ``operations``.

    Raises:
        DescriptionError: If a node leads nowhere.
    """
    return dump_yaml(_Writer(graph.frozen()).whole())


def write_graph(graph: GraphView, path: PathLike) -> None:
    """Writes a graph to a YAML file.

    Raises:
        DescriptionError: If a node leads nowhere.
        FileError: If the file cannot be written.
    """
    write_atomic(path, to_yaml(graph))


class _Writer:
    """Writes one graph."""

    def __init__(self, graph: GraphView) -> None:
        self.graph = graph
        self.definitions: dict[Operation, str] = {}
        self.defined: Block = Block()

    def whole(self) -> Block:
        times = Counter(bare(part) for part in _parts(self.graph) if _is_definable(part))
        taken = set(operations.names())
        for part in _parts(self.graph):
            if not _is_definable(part) or bare(part) in self.definitions:
                continue
            named = part.name if isinstance(part, GraphView) else None
            if times[bare(part)] > 1 or named is not None:
                kind = "choice" if isinstance(part, OneOf) else "graph"
                name = free_name((named or kind).replace("-", "_"), taken)
                taken.add(name)
                self.defined[name] = self.spelled(bare(part))
                self.definitions[bare(part)] = name
        data = self.of_graph(self.graph)
        if self.defined:
            nodes = data.pop("nodes")
            data.update(operations=self.defined, nodes=nodes)
            if "output" in data:
                data["output"] = data.pop("output")
        return data

    def of_graph(self, graph: GraphView) -> Block:
        data = Block()
        if graph.parameters:
            data["parameters"] = dict(graph.parameters)
        inputs = graph.inputs
        if any(shape is not None for shape in inputs.values()):
            data["inputs"] = {n: None if s is None else list(s) for n, s in inputs.items()}
        elif list(inputs) != ["input"]:
            data["inputs"] = list(inputs) if len(inputs) > 1 else next(iter(inputs))
        if graph.key is not None:
            data["key"] = graph.key
        nodes, before = Block(), next(iter(inputs)) if len(inputs) == 1 else None
        for name, node in graph.nodes.items():
            nodes[name] = self.of_node(node, before)
            before = name
        data["nodes"] = nodes
        if graph.outputs_are_set:
            outputs = list(graph.outputs)
            data["output"] = outputs[0] if len(outputs) == 1 else outputs
        return data

    def of_node(self, node: Node, before: str | None) -> Any:
        data: dict[str, Any] = {}
        plain = all(edge.operation is None for edge in node.edges)
        if not plain:
            data["from"] = {
                e.source: None if e.operation is None else self.operation(e.operation)
                for e in node.edges
            }
        elif node.sources != (before,):
            data["from"] = node.sources[0] if len(node.edges) == 1 else list(node.sources)
        if isinstance(node.join, AnyOf):
            data["join"] = {"any": node.join.n}
            data["join"].update({} if node.join.key is None else {"key": node.join.key})
            data["join"].update({} if node.join.join == "sum" else {"join": node.join.join})
        elif node.join != ("apart" if n_inputs(node.operation) > 1 else "sum"):
            data["join"] = node.join
        if node.operation is None:
            return data or {"from": node.sources[0]}
        operation = self.operation(node.operation)
        return {**data, "op": operation} if data else operation

    def operation(self, operation: Operation) -> Any:
        """Returns an operation by the name of its definition, or spelled out."""
        name = self.definitions.get(bare(operation)) if _is_definable(operation) else None
        if name is None or isinstance(operation, Op):
            return self.spelled(operation)
        given: dict[str, Any] = {}
        if operation.key is not None:
            given["key"] = operation.key
        if isinstance(operation, GraphView):
            given.update(operation.parameters)
        return {"name": name, **given} if given else name

    def spelled(self, operation: Operation) -> Any:
        if isinstance(operation, Op):
            given = {name: _plain(value) for name, value in operation.parameters.items()}
            return {"name": operation.name, **given} if given else operation.name
        if isinstance(operation, OneOf):
            candidates: Any = {n: self.operation(part) for n, part in operation.candidates}
            if all(isinstance(part, Op) and part.name == n for n, part in operation.candidates):
                candidates = list(candidates.values())
            data = {"one_of": candidates}
        elif isinstance(operation, Repeated):
            times = operation.times
            data = {
                "repeat": self.operation(operation.operation),
                "times": list(times) if isinstance(times, tuple) else times,
            }
        elif _is_chain(operation):
            return [self.operation(part) for part in operation.operations()]
        else:
            return self.of_graph(operation)
        return data if operation.key is None else {**data, "key": operation.key}


def bare(operation: Operation) -> Operation:
    """Returns an operation without what each of its uses may give anew: key and numbers."""
    if isinstance(operation, OneOf):
        return OneOf(dict(operation.candidates))
    if isinstance(operation, GraphView):
        ones = dict.fromkeys(operation.parameters, 1)
        return operation.with_parameters(**ones).with_key(None).frozen()
    return operation


def _parts(operation: Operation) -> Iterator[Operation]:
    """Yields the parts of an operation, inner ones first."""
    for part in inner(operation):
        yield from _parts(part)
        yield part


def _is_definable(operation: Operation) -> bool:
    return isinstance(operation, OneOf) or (
        isinstance(operation, GraphView) and not _is_chain(operation)
    )


def _is_chain(graph: GraphView) -> bool:
    """Says whether a graph is what a list of operations stands for."""
    parts = list(graph.operations())
    if dict(graph.inputs) != {"input": None} or graph.parameters or graph.outputs_are_set:
        return False
    if graph.key is not None or graph.name is not None or len(parts) != len(graph.nodes):
        return False
    if any(isinstance(part, GraphView) and not _is_chain(part) for part in parts):
        return False  # its node would be called as its definition is
    before = "input"
    for name, node, wanted in zip(
        graph.nodes, graph.nodes.values(), chain_names(parts), strict=True
    ):
        if node.sources != (before,) or node.join != "sum" or name != wanted:
            return False
        if node.operation is None or node.edges[0].operation is not None:
            return False
        before = name
    return bool(parts)


def _plain(value: Value) -> Any:
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
