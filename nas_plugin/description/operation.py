"""What a graph is made of: nodes, edges, and what stands on them, which may be a graph again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, Union, cast

import networkx

from nas_plugin.description.expression import Amount
from nas_plugin.description.join import Join
from nas_plugin.description.names import Shape, as_inputs, checked_key, checked_name
from nas_plugin.description.op import Op
from nas_plugin.errors import DescriptionError

Operation: TypeAlias = Union[Op, "OneOf", "Repeated", "GraphView"]
#: What edits take for an operation: a name, or a list for a chain of them.
Spec: TypeAlias = str | Operation | Sequence["Spec"]
#: What edits take for the inputs of a node: a name, names, or names with operations on the edges.
Sources: TypeAlias = str | Sequence[str] | Mapping[str, Spec | None]


@dataclass(frozen=True, init=False)
class OneOf:
    """A choice among operations; becomes a `LayerChoice`.

    Args:
        candidates: Name → operation, or a list whose operations have different names.
        key: Choices of one key share their decision; its place in the model if None.

    Raises:
        DescriptionError: If there is no candidate, or one has no name.
    """

    candidates: tuple[tuple[str, Operation], ...]
    key: str | None

    def __init__(
        self, candidates: Mapping[str, Spec] | Sequence[Spec], key: str | None = None
    ) -> None:
        if isinstance(candidates, str) or not isinstance(candidates, (Mapping, Sequence)):
            raise DescriptionError(
                f"A choice takes a list or a mapping of operations, got {candidates!r}."
            )
        if isinstance(candidates, Mapping):
            found = [(name, as_operation(spec)) for name, spec in candidates.items()]
        else:
            made = [as_operation(spec) for spec in candidates]
            found = [(name_of(operation), operation) for operation in made]
        names = [name for name, _ in found]
        if not names or len(set(names)) != len(names):
            raise DescriptionError(
                f"A choice needs candidates of different names, got {names}. Give names by a "
                "mapping from name to operation."
            )
        object.__setattr__(self, "candidates", tuple(found))
        object.__setattr__(self, "key", checked_key(key))


@dataclass(frozen=True, init=False)
class Repeated:
    """An operation several times in a row, each with weights of its own.

    Args:
        operation: What is repeated; a graph of one input.
        times: A number or expression, or ``(low, high)``: then the depth is searched, and it
            becomes a `Repeat`.
        key: Key of the depth; its place in the model if None.

    Raises:
        DescriptionError: If a number is negative, or the depths are not low < high.
    """

    operation: Operation
    times: Amount | tuple[int, int]
    key: str | None

    def __init__(
        self, operation: Spec, times: Amount | Sequence[int], key: str | None = None
    ) -> None:
        if isinstance(times, Sequence) and not isinstance(times, str):
            if [type(n) for n in times] != [int, int] or not 0 <= times[0] < times[1]:
                raise DescriptionError(
                    f"A searched depth is a pair of whole numbers, 0 <= low < high, got {times}."
                )
            times = (times[0], times[1])
        elif key is not None:
            raise DescriptionError(
                f"The key '{key}' is that of a depth, but nothing is chosen by times: {times!r}. "
                "Give [low, high], or leave the key out."
            )
        elif not isinstance(times, str) and (type(times) is not int or times < 0):
            raise DescriptionError(
                f"times is a whole number, an expression or [low, high], got {times!r}."
            )
        object.__setattr__(self, "operation", as_operation(operation))
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "key", checked_key(key))


@dataclass(frozen=True)
class Link:
    """What leads from a node to another.

    Args:
        source: Name of a node or input.
        operation: What is applied on the way; None leaves it as it is.
    """

    source: str
    operation: Operation | None = None


@dataclass(frozen=True)
class Node:
    """A node: what it reads, how that is joined, and what is applied to it.

    Args:
        operation: None for a node that only joins.
        edges: In the order in which they are joined.
        join: How several inputs become one.
    """

    operation: Operation | None
    edges: tuple[Link, ...]
    join: Join = "sum"

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of what the node reads."""
        return tuple(edge.source for edge in self.edges)

    def operations(self) -> Iterable[Operation]:
        """Returns the operations of the edges and that of the node."""
        found = [edge.operation for edge in self.edges]
        return [operation for operation in (*found, self.operation) if operation is not None]


class GraphView(ABC):
    """What can be asked of a graph. `ModelGraph` is the one kind, and can be edited as well.

    Nodes hold operations, and an operation may be a graph again: hence one module for all of them.

    Args:
        inputs: Name of the input, names, or name → shape without the batch.
        parameters: Name → number: what expressions may hold.
        key: What the keys of choices inside start with.
        name: What the graph is called where it is used more than once.

    Raises:
        DescriptionError: If a name, shape or key is none.
    """

    #: Makes a graph of operations in a row; set by `graph`, where graphs are made.
    in_a_row: ClassVar[Callable[[Sequence[Operation]], GraphView]]

    def __init__(
        self,
        inputs: str | Sequence[str] | Mapping[str, Sequence[int] | None] = "input",
        *,
        parameters: Mapping[str, Amount] | None = None,
        key: str | None = None,
        name: str | None = None,
    ) -> None:
        self._inputs = as_inputs(inputs)
        self._nodes: dict[str, Node] = {}
        self._outputs: tuple[str, ...] = ()
        self._parameters: dict[str, Amount] = {}
        self.key = checked_key(key)
        self.name = None if name is None else checked_name(name)
        self._set_parameters(parameters or {})

    @property
    def inputs(self) -> Mapping[str, Shape | None]:
        """Name → shape without the batch, or None."""
        return dict(self._inputs)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Name → node, in the order in which they were added."""
        return dict(self._nodes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The nodes that a model of this graph returns: those nobody reads, unless set."""
        if self._outputs:
            return self._outputs
        read = {source for node in self._nodes.values() for source in node.sources}
        return tuple(name for name in self._nodes or self._inputs if name not in read)

    @property
    def outputs_are_set(self) -> bool:
        """Whether outputs were set, rather than being what nobody reads."""
        return bool(self._outputs)

    @property
    def parameters(self) -> Mapping[str, Amount]:
        """Name → number or expression."""
        return dict(self._parameters)

    @property
    def digraph(self) -> networkx.DiGraph[str]:
        """The graph for queries by networkx: inputs and nodes, with what stands on them."""
        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(self._inputs)
        for name, node in self._nodes.items():
            graph.add_node(name, operation=node.operation, join=node.join)
        for name, node in self._nodes.items():
            for edge in node.edges:
                graph.add_edge(edge.source, name, operation=edge.operation)
        return cast("networkx.DiGraph[str]", networkx.freeze(graph))

    def order(self) -> list[str]:
        """Returns the nodes so that each comes after those that it reads, else as added."""
        place = {name: i for i, name in enumerate((*self._inputs, *self._nodes))}
        ordered = networkx.lexicographical_topological_sort(self.digraph, key=place.__getitem__)
        return [name for name in ordered if name in self._nodes]

    def readers(self, name: str) -> list[str]:
        """Returns the nodes that read a node or input."""
        return [reader for reader, node in self._nodes.items() if name in node.sources]

    def operations(self) -> Iterator[Operation]:
        """Yields what stands on the edges and nodes."""
        for node in self._nodes.values():
            yield from node.operations()

    @abstractmethod
    def frozen(self) -> GraphView:
        """Returns the graph as other graphs hold it: complete, and closed to edits."""

    @abstractmethod
    def with_nodes(self, nodes: Mapping[str, Node], outputs: Sequence[str] = ()) -> GraphView:
        """Returns a copy with other nodes and outputs; without outputs, what nobody reads."""

    @abstractmethod
    def with_parameters(self, **parameters: Amount) -> GraphView:
        """Returns a copy with other values of some of the parameters."""

    @abstractmethod
    def with_key(self, key: str | None) -> GraphView:
        """Returns a copy with another key."""

    def _set_parameters(self, parameters: Mapping[str, Amount]) -> None:
        for name, value in parameters.items():
            if type(value) not in (int, float, str):
                raise DescriptionError(
                    f"Parameter '{name}' must be a number or an expression, got {value!r}."
                )
            if name in ("c_in", "key", "name") or not checked_name(name).isidentifier():
                raise DescriptionError(
                    f"No parameter can be called '{name}'. A name is letters, digits and '_', and "
                    "none of c_in, key and name."
                )
            self._parameters[name] = value


def as_operation(spec: Spec) -> Operation:
    """Returns what a name, a list or an operation stands for; graphs are copied and frozen.

    Raises:
        DescriptionError: If it is something else.
    """
    if isinstance(spec, str):
        return Op(spec)
    if isinstance(spec, GraphView):
        return spec.frozen()
    if isinstance(spec, (Op, OneOf, Repeated)):
        return spec
    if isinstance(spec, Sequence) and spec:
        return GraphView.in_a_row([as_operation(entry) for entry in spec])
    raise DescriptionError(
        "An operation is a name, an Op, a OneOf, a Repeated, a ModelGraph, or a list of them, "
        f"got {spec!r}."
    )


def as_edges(sources: Sources) -> tuple[Link, ...]:
    """Returns the edges that `sources` stand for.

    Raises:
        DescriptionError: If they are none.
    """
    if isinstance(sources, str):
        return (Link(sources),)
    if isinstance(sources, Mapping):
        return tuple(
            Link(name, None if spec is None else as_operation(spec))
            for name, spec in sources.items()
        )
    if not isinstance(sources, Sequence) or not all(isinstance(s, str) for s in sources):
        raise DescriptionError(
            "The inputs of a node are a name, a list of names, or a mapping from names to the "
            f"operations on the edges, got {sources!r}."
        )
    return tuple(Link(name) for name in sources)


def name_of(operation: Operation) -> str:
    """Returns what an operation is called where nobody named it."""
    if isinstance(operation, Op):
        return operation.name
    if isinstance(operation, OneOf):
        return "choice"
    if isinstance(operation, Repeated):
        return "repeated"
    return operation.name or "graph"


def n_inputs(operation: Operation | None) -> int:
    """Returns how many inputs an operation reads."""
    if isinstance(operation, OneOf):
        return max(n_inputs(candidate) for _, candidate in operation.candidates)
    return (
        1 if operation is None or isinstance(operation, (Op, Repeated)) else len(operation.inputs)
    )


def inner(operation: Operation) -> Iterator[Operation]:
    """Yields the operations that one is made of, of graphs those of nodes and edges."""
    if isinstance(operation, OneOf):
        yield from (candidate for _, candidate in operation.candidates)
    elif isinstance(operation, Repeated):
        yield operation.operation
    elif not isinstance(operation, Op):
        yield from operation.operations()
