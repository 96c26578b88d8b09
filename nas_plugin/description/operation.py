"""What stands on the nodes and edges of a graph: an operation, a choice, a repetition, a graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from nas_plugin.description.expression import Amount
from nas_plugin.errors import DescriptionError

if TYPE_CHECKING:
    from nas_plugin.description.graph import ModelGraph

Value: TypeAlias = bool | int | float | str | tuple["Value", ...] | None
Operation: TypeAlias = Union["Op", "OneOf", "Repeated", "ModelGraph"]
#: What edits take for an operation: a name, or a list for a chain of them.
Spec: TypeAlias = str | Operation | Sequence["Spec"]


class Op:
    """An operation by its registered name.

    Args:
        name: A name of `nas_plugin.operations.operations`.
        **parameters: Arguments of the operation. Numbers may be expressions of the graph's
            parameters and of `c_in`, the channels that come in: ``c_out="2 * c_in"``.

    Raises:
        DescriptionError: If a value is no plain one.
    """

    __slots__ = ("_identity", "name", "parameters")

    def __init__(self, name: str, /, **parameters: Any) -> None:
        self.name = name
        self.parameters: Mapping[str, Value] = {
            key: plain(value, f"Operation '{name}', {key}") for key, value in parameters.items()
        }
        # By what is written: 1, 1.0 and True are equal to Python, and differ to an operation.
        spelled = sorted((key, repr(value)) for key, value in self.parameters.items())
        self._identity = (name, tuple(spelled))

    def __eq__(self, other: object) -> bool:
        return self._identity == other._identity if isinstance(other, Op) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.parameters.items()]
        return f"Op({', '.join([repr(self.name), *given])})"


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


def as_operation(spec: Spec) -> Operation:
    """Returns what a name, a list or an operation stands for; graphs are copied and frozen.

    Raises:
        DescriptionError: If it is something else.
    """
    from nas_plugin.description.graph import ModelGraph, chain

    if isinstance(spec, str):
        return Op(spec)
    if isinstance(spec, ModelGraph):
        return spec.frozen()
    if isinstance(spec, (Op, OneOf, Repeated)):
        return spec
    if isinstance(spec, Sequence) and spec:
        return chain([as_operation(entry) for entry in spec])
    raise DescriptionError(
        "An operation is a name, an Op, a OneOf, a Repeated, a ModelGraph, or a list of them, "
        f"got {spec!r}."
    )


def name_of(operation: Operation) -> str:
    """Returns what an operation is called where nobody named it."""
    if isinstance(operation, Op):
        return operation.name
    if isinstance(operation, OneOf):
        return "choice"
    if isinstance(operation, Repeated):
        return "repeated"
    return operation.name or "graph"


def free_name(name: str, taken: Container[str]) -> str:
    """Returns a name that is not taken: the first of ``name``, ``name_2``, ``name_3``, …"""
    numbered = (f"{name}_{i}" for i in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


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


def checked_key(key: Any) -> str | None:
    """Returns a key if it is one.

    Raises:
        DescriptionError: If it is not.
    """
    if key is not None and (not isinstance(key, str) or not key.isprintable() or not key):
        raise DescriptionError(f"A key is printable text that is not empty, got {key!r}.")
    return key


def plain(value: Any, what: str) -> Value:
    """Returns a value that YAML can hold; lists become tuples.

    Raises:
        DescriptionError: If it is none.
    """
    if value is None or type(value) in (bool, int):
        return value  # type: ignore[no-any-return]
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str and value.isprintable():
        return value
    if isinstance(value, (list, tuple)):
        return tuple(plain(entry, what) for entry in value)
    raise DescriptionError(
        f"{what}: a value is a finite number, printable text, true, false, null or a list of "
        f"them, got {value!r}."
    )
