"""Operations with other numbers or keys in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nas_plugin.description.expression import Amount, names_in, substituted
from nas_plugin.description.join import AnyOf
from nas_plugin.description.keys import joined, keyed
from nas_plugin.description.op import Op
from nas_plugin.description.operation import (
    GraphView,
    Link,
    Node,
    OneOf,
    Operation,
    Repeated,
    inner,
)
from nas_plugin.description.registered import check_parameters
from nas_plugin.errors import DescriptionError


def names_used(node: Node) -> set[str]:
    """Returns the parameters that the expressions of a node hold."""
    return {
        name for op in node.operations() for text in _expressions(op) for name in names_in(text)
    }


def with_amounts(operation: Operation, amounts: Mapping[str, Amount]) -> Operation:
    """Returns an operation with parameters replaced by what they stand for.

    Raises:
        DescriptionError: If one stands for something of `c_in`, which is another number here.
    """
    if isinstance(operation, Op):
        texts = set(check_parameters(operation))
        changed: dict[str, Any] = {
            name: _replaced(value, amounts) if value in texts else value
            for name, value in operation.parameters.items()
        }
        return Op(operation.name, **changed)
    if isinstance(operation, OneOf):
        found = {name: with_amounts(entry, amounts) for name, entry in operation.candidates}
        return OneOf(found, operation.key)
    if isinstance(operation, Repeated):
        times = operation.times
        times = _replaced(times, amounts) if isinstance(times, str) else times
        return Repeated(with_amounts(operation.operation, amounts), times, operation.key)
    own = {p: _replaced(value, amounts) for p, value in operation.parameters.items()}
    return operation.with_parameters(**own).frozen()


def under_key(node: Node, name: str, graph: GraphView) -> Node:
    """Returns a node of a graph with a key, as it is outside of that graph: with keys of its own.

    Raises:
        DescriptionError: If it repeats choices, each of which has a key of its own.
    """
    base = graph.key
    if base is None:
        return node
    edges = tuple(
        Link(e.source, _keyed(e.operation, base, f"edges/{name}/{e.source}")) for e in node.edges
    )
    join = node.join
    if isinstance(join, AnyOf) and join.key is None:
        join = AnyOf(join.n, joined(base, f"joins/{name}"), join.join)
    return Node(_keyed(node.operation, base, name), edges, join)


def _keyed(operation: Operation | None, base: str, place: str) -> Operation | None:
    if operation is None or isinstance(operation, Op) or operation.key is not None:
        return operation
    if not any(keyed(operation, "", "", ())):
        return operation
    key = joined(base, place)
    if isinstance(operation, OneOf):
        return OneOf(dict(operation.candidates), key)
    if isinstance(operation, Repeated):
        if isinstance(operation.times, tuple):
            return Repeated(operation.operation, operation.times, key)
        raise DescriptionError(
            f"'{place}' repeats choices below the key '{base}', which have no other place. Give "
            "them keys of their own first."
        )
    return operation.with_key(key).frozen()


def _replaced(amount: Any, amounts: Mapping[str, Amount]) -> Any:
    if not isinstance(amount, str):
        return amount
    used = {name: amounts[name] for name in names_in(amount) if name in amounts}
    if all(name == value for name, value in used.items()):
        return amount
    for name, value in used.items():
        if isinstance(value, str) and "c_in" in names_in(value):
            raise DescriptionError(
                f"The parameter '{name}' is '{value}', of what comes into the sub-graph, and means "
                "another number inside. Give it as a number or by other parameters first."
            )
    return substituted(amount, used)


def _expressions(operation: Operation) -> Iterator[str]:
    if isinstance(operation, Op):
        yield from check_parameters(operation)
        return
    if isinstance(operation, Repeated) and isinstance(operation.times, str):
        yield operation.times
    if isinstance(operation, (OneOf, Repeated)):
        for entry in inner(operation):
            yield from _expressions(entry)
    else:
        yield from (value for value in operation.parameters.values() if isinstance(value, str))
