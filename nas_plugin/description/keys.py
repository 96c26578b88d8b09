"""The keys that the choices of a graph get, before it is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nas_plugin.description.join import AnyOf
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Node, OneOf, Operation, Repeated
from nas_plugin.errors import DescriptionError


@dataclass(frozen=True)
class Keyed:
    """A choice under its key.

    Args:
        key: What it gets.
        base: The given key that `key` starts with.
        chooses: What is chosen; equal for all choices of a key.
        path: The names of the nodes and candidates that enclose it.
    """

    key: str
    base: str
    chooses: tuple[Any, ...]
    path: tuple[str, ...]


def check_keys(graph: GraphView) -> None:
    """Checks that choices of one key choose the same.

    Raises:
        DescriptionError: If they do not.
    """
    first: dict[str, Keyed] = {}
    for entry in keyed(graph, "", "", ()):
        known = first.setdefault(entry.key, entry)
        if known.chooses != entry.chooses or known.base != entry.base:
            raise DescriptionError(
                f"Two choices have the key '{entry.key}': '{'/'.join(known.path)}' chooses "
                f"{_shown(known)}, '{'/'.join(entry.path)}' {_shown(entry)}. Choices of one key "
                "must choose the same; give one of them another key.",
                entry.path,
            )


def keyed(operation: Operation, base: str, place: str, path: tuple[str, ...]) -> Iterator[Keyed]:
    """Yields the choices of an operation that stands at `place` below the key `base`."""
    if isinstance(operation, Op):
        return
    if operation.key is not None:
        base, place = operation.key, ""
    key = joined(base, place)
    if isinstance(operation, OneOf):
        names = tuple(name for name, _ in operation.candidates)
        yield Keyed(key, base, ("layer", names), path)
        for name, candidate in operation.candidates:
            yield from keyed(candidate, base, joined(place, name), (*path, name))
    elif isinstance(operation, Repeated):
        if isinstance(operation.times, tuple):
            yield Keyed(key, base, ("repeat", operation.times), path)
        yield from keyed(operation.operation, base, joined(place, "0"), path)
    else:
        for name, node in operation.nodes.items():
            yield from _of_node(name, node, base, place, (*path, name))


def _of_node(
    name: str, node: Node, base: str, place: str, path: tuple[str, ...]
) -> Iterator[Keyed]:
    for edge in node.edges:
        if edge.operation is not None:
            where = joined(place, f"edges/{name}/{edge.source}")
            yield from keyed(edge.operation, base, where, path)
    if isinstance(node.join, AnyOf):
        chooses = ("input", names_of(node), node.join.n)
        if node.join.key is not None:
            yield Keyed(node.join.key, node.join.key, chooses, path)
        else:
            yield Keyed(joined(base, joined(place, f"joins/{name}")), base, chooses, path)
    if node.operation is not None:
        yield from keyed(node.operation, base, joined(place, name), path)


def names_of(node: Node) -> tuple[str, ...]:
    """Returns what the candidates of a node's `AnyOf` are called: keys of edges, or nodes."""
    keys = [e.operation.key for e in node.edges if isinstance(e.operation, OneOf)]
    named = [key for key in keys if key is not None]
    return tuple(named) if len(set(named)) == len(node.edges) else node.sources


def joined(left: str, right: str) -> str:
    """Returns a key below another."""
    return f"{left}/{right}" if left and right else left or right


def _shown(entry: Keyed) -> str:
    return f"{entry.chooses[0]} {entry.chooses[1]}" + (f" below '{entry.base}'" * bool(entry.base))
