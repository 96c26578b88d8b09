"""The parts of a graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nas_plugin.description.join import Join
from nas_plugin.description.operation import Operation, Spec, as_operation
from nas_plugin.errors import DescriptionError

Shape: TypeAlias = tuple[int, ...]
#: What edits take for the inputs of a node: a name, names, or names with operations on the edges.
Sources: TypeAlias = str | Sequence[str] | Mapping[str, Spec | None]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True)
class Edge:
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
    edges: tuple[Edge, ...]
    join: Join = "sum"

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of what the node reads."""
        return tuple(edge.source for edge in self.edges)

    def operations(self) -> Iterable[Operation]:
        """Returns the operations of the edges and that of the node."""
        found = [edge.operation for edge in self.edges]
        return [operation for operation in (*found, self.operation) if operation is not None]


def as_edges(sources: Sources) -> tuple[Edge, ...]:
    """Returns the edges that `sources` stand for.

    Raises:
        DescriptionError: If they are none.
    """
    if isinstance(sources, str):
        return (Edge(sources),)
    if isinstance(sources, Mapping):
        return tuple(
            Edge(name, None if spec is None else as_operation(spec))
            for name, spec in sources.items()
        )
    if not isinstance(sources, Sequence) or not all(isinstance(s, str) for s in sources):
        raise DescriptionError(
            "The inputs of a node are a name, a list of names, or a mapping from names to the "
            f"operations on the edges, got {sources!r}."
        )
    return tuple(Edge(name) for name in sources)


def as_inputs(inputs: Any) -> dict[str, Shape | None]:
    """Returns the name and shape of each input of a graph; None where no shape is given.

    Raises:
        DescriptionError: If there is none, or a shape is not positive.
    """
    if isinstance(inputs, str):
        inputs = [inputs]
    if not isinstance(inputs, Mapping):
        inputs = dict.fromkeys(inputs)
    found: dict[str, Shape | None] = {}
    for name, shape in inputs.items():
        found[checked_name(name)] = None if shape is None else checked_shape(shape, name)
    if not found:
        raise DescriptionError("A graph needs at least one input.")
    return found


def checked_shape(shape: Any, name: str) -> Shape:
    """Returns a shape without the batch if it is one.

    Raises:
        DescriptionError: If it is none.
    """
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    if not sizes or any(type(n) is not int or not 0 < n <= 2**31 for n in sizes):
        raise DescriptionError(
            f"The shape of input '{name}' is a list of positive whole numbers without the batch, "
            f"[3, 32, 32] for example; got {shape!r}."
        )
    return sizes


def checked_name(name: Any) -> str:
    """Returns a name if nodes, inputs, parameters and graphs may have it.

    Raises:
        DescriptionError: If they may not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DescriptionError(
            f"A name begins with a letter and holds letters, digits, '_' and '-', got {name!r}."
        )
    return name
