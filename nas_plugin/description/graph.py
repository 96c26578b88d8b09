"""A model as a graph that can be edited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nas_plugin.description.check import check, check_complete
from nas_plugin.description.expression import Amount
from nas_plugin.description.join import Join, as_join
from nas_plugin.description.names import checked_key, checked_name, free_name
from nas_plugin.description.nesting import nested, unnested
from nas_plugin.description.operation import (
    GraphView,
    Link,
    Node,
    OneOf,
    Operation,
    Sources,
    Spec,
    as_edges,
    as_operation,
    n_inputs,
    name_of,
)
from nas_plugin.errors import DescriptionError


class ModelGraph(GraphView):
    """Nodes that read inputs and other nodes; see docs/descriptions.md.

    An edit is checked as a whole and happens completely, or not at all.

    Args:
        inputs: Name of the input, names, or name → shape without the batch. If all have a shape,
            every edit is checked for shapes as well.
        parameters: Name → number: what expressions may hold, and what a sweep may vary.
        key: Choices inside that have no key of their own get one that starts with this, so that
            all graphs of one key share them.
        name: What the graph is called where it is used more than once; no part of its equality.

    Raises:
        DescriptionError: If a name, shape or key is none.
    """

    def __init__(
        self,
        inputs: str | Sequence[str] | Mapping[str, Sequence[int] | None] = "input",
        *,
        parameters: Mapping[str, Amount] | None = None,
        key: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs, parameters=parameters, key=key, name=name)
        self._editing = self._frozen = False
        self._hash: int | None = None

    # Edits.

    def add_node(
        self,
        name: str,
        operation: Spec | None = None,
        *,
        inputs: Sources | None = None,
        join: Join | None = None,
    ) -> None:
        """Adds a node.

        Args:
            name: A new name.
            operation: What it applies; None only joins.
            inputs: What it reads, with operations on the edges if it is a mapping; the node that
                was added before if None.
            join: ``sum`` if None, or ``apart`` if the operation is a graph of several inputs.
        """
        if name in self._nodes or name in self._inputs:
            raise DescriptionError(f"There is a node '{name}' already. Choose another name.")
        made = None if operation is None else as_operation(operation)
        edges = as_edges(self._before() if inputs is None else inputs)
        known = ("apart" if n_inputs(made) > 1 else "sum") if join is None else as_join(join)
        self._commit({**self._nodes, checked_name(name): Node(made, edges, known)})

    def add_edge(
        self, source: str, target: str, operation: Spec | None = None, position: int | None = None
    ) -> None:
        """Lets a node read another.

        Args:
            source: A node or input.
            target: The node that reads it.
            operation: What is applied on the way.
            position: Place among the target's inputs; the last if None.
        """
        node = self._node(target)
        if source in node.sources:
            raise DescriptionError(
                f"'{target}' reads '{source}' already. Two ways between two nodes need a node on "
                "one of them.", (target,),
            )  # fmt: skip
        edges = list(node.edges)
        made = None if operation is None else as_operation(operation)
        edges.insert(len(edges) if position is None else position, Link(source, made))
        self._commit({**self._nodes, target: replace(node, edges=tuple(edges))})

    def remove_node(self, name: str) -> None:
        """Removes a node that no other reads."""
        self._node(name)
        readers = self.readers(name)
        if readers and not self._editing:
            raise DescriptionError(
                f"'{name}' is read by {', '.join(readers)}. Let them read something else first.",
                (name,),
            )
        self._commit(
            {other: node for other, node in self._nodes.items() if other != name},
            tuple(output for output in self._outputs if output != name),
        )

    def remove_edge(self, source: str, target: str) -> None:
        """Lets a node no longer read another."""
        node, _ = self._edge(source, target)
        edges = tuple(edge for edge in node.edges if edge.source != source)
        self._commit({**self._nodes, target: replace(node, edges=edges)})

    def replace(self, place: str | tuple[str, str], operation: Spec | None) -> None:
        """Puts another operation on a node or an edge; None leaves what arrives as it is.

        Args:
            place: A node by its name, or an edge by the names of its two ends.
            operation: What is put there.
        """
        made = None if operation is None else as_operation(operation)
        if isinstance(place, str):
            node = replace(self._node(place), operation=made)
            if (node.join == "apart") != (n_inputs(made) > 1):
                node = replace(node, join="apart" if n_inputs(made) > 1 else "sum")
            self._commit({**self._nodes, place: node})
            return
        source, target = place
        node, position = self._edge(source, target)
        edges = list(node.edges)
        edges[position] = Link(source, made)
        self._commit({**self._nodes, target: replace(node, edges=tuple(edges))})

    def choose(
        self,
        place: str | tuple[str, str],
        candidates: Mapping[str, Spec] | Sequence[Spec],
        key: str | None = None,
    ) -> None:
        """Puts a choice among operations on a node or an edge."""
        self.replace(place, OneOf(candidates, key))

    def set_join(self, name: str, join: Join) -> None:
        """Lets a node join its inputs another way."""
        self._commit({**self._nodes, name: replace(self._node(name), join=as_join(join))})

    def set_outputs(self, *names: str) -> None:
        """Says which nodes a model of this graph returns."""
        self._commit(self._nodes, names)

    def nest(self, names: Sequence[str], name: str, key: str | None = None) -> None:
        """Makes one node of several: a sub-graph that holds them.

        Args:
            names: Nodes of which exactly one is read from outside, and between which no way leads
                through another node.
            name: The new node.
            key: The key of the sub-graph.
        """
        for inner in names:
            self._node(inner)
        self._commit(*nested(self, names, name, key))

    def unnest(self, name: str) -> None:
        """Puts the nodes of a sub-graph in the place of the node that holds it.

        Names that are taken get the node's name as a prefix.
        """
        self._node(name)
        self._commit(*unnested(self, name))

    @contextmanager
    def editing(self) -> Iterator[ModelGraph]:
        """Checks the edits of a ``with`` block together, at its end; all happen or none."""
        if self._editing:
            yield self
            return
        before = (self._nodes, self._outputs)
        self._editing = True
        try:
            yield self
            self._editing = False
            self._commit(self._nodes, self._outputs)
        except BaseException:
            self._nodes, self._outputs = before
            raise
        finally:
            self._editing = False

    # Copies.

    def copy(self) -> ModelGraph:
        """Returns a graph that can be edited and leaves this one as it is."""
        graph = ModelGraph(self._inputs, parameters=self._parameters, key=self.key, name=self.name)
        graph._nodes, graph._outputs = self._nodes, self._outputs
        return graph

    def with_nodes(self, nodes: Mapping[str, Node], outputs: Sequence[str] = ()) -> ModelGraph:
        """Returns a copy with other nodes and outputs; without outputs, what nobody reads."""
        graph = self.copy()
        graph._commit(nodes, tuple(outputs))
        return graph

    def frozen(self) -> ModelGraph:
        """Returns the graph as other graphs hold it: complete, and closed to edits.

        Raises:
            DescriptionError: If a node leads nowhere.
        """
        if self._frozen:
            return self
        check_complete(self)
        graph = self.copy()
        graph._frozen = True
        return graph

    def with_parameters(self, **parameters: Amount) -> ModelGraph:
        """Returns a copy with other values of some of the parameters.

        Raises:
            DescriptionError: If the graph has no parameter of a name.
        """
        for name in parameters:
            if name not in self._parameters:
                known = ", ".join(self._parameters) or "none"
                raise DescriptionError(f"The graph has no parameter '{name}'. It has {known}.")
        graph = self.copy()
        graph._set_parameters(parameters)
        graph._commit(graph._nodes)
        return graph

    def with_key(self, key: str | None) -> ModelGraph:
        """Returns a copy with another key."""
        graph = self.copy()
        graph.key = checked_key(key)
        graph._commit(graph._nodes)
        return graph

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, ModelGraph) else False

    def __hash__(self) -> int:
        if not self._frozen:
            raise TypeError("a graph that can be edited has no hash; take graph.frozen()")
        if self._hash is None:
            self._hash = hash(self._identity())
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        # Hashes of texts differ from process to process.
        return {**self.__dict__, "_hash": None}

    def __repr__(self) -> str:
        name = "" if self.name is None else f"'{self.name}', "
        return f"ModelGraph({name}{len(self._nodes)} nodes)"

    def _identity(self) -> tuple[Any, ...]:
        parameters = sorted((name, repr(value)) for name, value in self._parameters.items())
        inputs, nodes = tuple(self._inputs.items()), frozenset(self._nodes.items())
        return inputs, nodes, self.outputs, tuple(parameters), self.key

    def _commit(self, nodes: Mapping[str, Node], outputs: tuple[str, ...] | None = None) -> None:
        if self._frozen:
            raise DescriptionError(
                "This graph is part of another. Edit a copy(), and replace() the node by it."
            )
        before = (self._nodes, self._outputs)
        self._nodes = dict(nodes)
        self._outputs = self._outputs if outputs is None else outputs
        try:
            if not self._editing:
                check(self)
        except BaseException:
            self._nodes, self._outputs = before
            raise

    def _before(self) -> str:
        if self._nodes:
            return next(reversed(self._nodes))
        if len(self._inputs) > 1:
            raise DescriptionError(
                f"The first node may read any of {', '.join(self._inputs)}. Give its inputs."
            )
        return next(iter(self._inputs))

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            known = ", ".join(self._nodes) or "none"
            raise DescriptionError(f"There is no node '{name}'. There are {known}.")
        return self._nodes[name]

    def _edge(self, source: str, target: str) -> tuple[Node, int]:
        node = self._node(target)
        if source not in node.sources:
            raise DescriptionError(
                f"'{target}' does not read '{source}'. It reads {', '.join(node.sources)}.",
                (target,),
            )
        return node, node.sources.index(source)


def chain(operations: Sequence[Operation]) -> ModelGraph:
    """Returns operations in a row as a graph; nodes are called as their operations are."""
    graph = ModelGraph()
    with graph.editing():
        for operation, name in zip(operations, chain_names(operations), strict=True):
            graph.add_node(name, operation)
    return graph.frozen()


def chain_names(operations: Sequence[Operation]) -> list[str]:
    """Returns the names of nodes in a row: equal ones are numbered from the second."""
    names: list[str] = []
    for operation in operations:
        names.append(free_name(name_of(operation), names))
    return names


GraphView.in_a_row = chain
