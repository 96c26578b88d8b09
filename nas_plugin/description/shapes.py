"""Shapes without weights: operations run on the ``meta`` device, once for each that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nas_plugin.description.expression import Number, evaluate
from nas_plugin.description.names import Shape
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Link, Node, OneOf, Operation, Repeated
from nas_plugin.description.registered import arguments, factory_of, made, shown
from nas_plugin.errors import DescriptionError

#: So many operations a model may have; a file can ask for more in a line.
MAX_OPERATIONS = 100_000
Names = Mapping[str, Number]


class Flow:
    """What arrives at the nodes of a graph.

    Args:
        arriving: Node → the shapes behind its edges.
        joined: Node → the shape that its operation reads; for joins ``apart`` the first.
        leaving: Node or input → its shape.
    """

    def __init__(self) -> None:
        self.arriving: dict[str, list[Shape]] = {}
        self.joined: dict[str, Shape] = {}
        self.leaving: dict[str, Shape] = {}


def node_shapes(graph: GraphView, inputs: Sequence[Shape]) -> Flow:
    """Returns the shapes inside a graph, without the batch.

    Raises:
        DescriptionError: If an operation does not fit what arrives; it names the node.
    """
    return Shapes().flow(graph, inputs, own_names(graph, {}, inputs[0]), ())


def own_names(graph: GraphView, outer: Names, first: Shape) -> dict[str, Number]:
    """Returns what the parameters of a graph stand for.

    Args:
        graph: The graph.
        outer: The parameters of the graph that holds it.
        first: Shape of its first input.
    """
    known = {**outer, "c_in": first[0]}
    return {name: evaluate(amount, known) for name, amount in graph.parameters.items()}


class Shapes:
    """Follows shapes through operations, and counts these."""

    def __init__(self) -> None:
        self.count = 0

    def flow(
        self, graph: GraphView, inputs: Sequence[Shape], names: Names, path: tuple[str, ...]
    ) -> Flow:
        """Returns the shapes inside a graph."""
        flow = Flow()
        flow.leaving.update(zip(graph.inputs, inputs, strict=True))
        nodes = graph.nodes
        for name in graph.order():
            node, here = nodes[name], (*path, name)
            arriving = [self._behind(edge, flow, names, here) for edge in node.edges]
            flow.arriving[name] = arriving
            flow.joined[name] = joined = joined_shape(node, arriving, here)
            out = joined
            if node.operation is not None:
                reads = arriving if node.join == "apart" else [joined]
                out = self.after(node.operation, reads, names, here)
            flow.leaving[name] = out
        return flow

    def after(
        self, operation: Operation, inputs: Sequence[Shape], names: Names, path: tuple[str, ...]
    ) -> Shape:
        """Returns the shape of what an operation gives."""
        self.count += 1
        if self.count > MAX_OPERATIONS:
            raise DescriptionError(
                f"The graph has more than {MAX_OPERATIONS} operations. Repeat less.", path
            )
        if isinstance(operation, Op):
            return self._after_op(operation, inputs[0], names, path)
        if isinstance(operation, OneOf):
            return self._after_choice(operation, inputs, names, path)
        if isinstance(operation, Repeated):
            return self._after_repeated(operation, inputs[0], names, path)
        try:
            own = own_names(operation, names, inputs[0])
        except DescriptionError as error:
            raise at(path, error) from error
        flow = self.flow(operation, inputs, own, path)
        return flow.leaving[operation.outputs[0]]

    def _behind(self, edge: Link, flow: Flow, names: Names, path: tuple[str, ...]) -> Shape:
        shape = flow.leaving[edge.source]
        return shape if edge.operation is None else self.after(edge.operation, [shape], names, path)

    def _after_op(self, op: Op, shape: Shape, names: Names, path: tuple[str, ...]) -> Shape:
        try:
            given = arguments(op, shape[0], names)
            typed = tuple((name, repr(value), value) for name, value in given.items())
            return _shape_after(op, factory_of(op), typed, shape)
        except DescriptionError as error:
            raise at(path, error) from error

    def _after_choice(
        self, choice: OneOf, inputs: Sequence[Shape], names: Names, path: tuple[str, ...]
    ) -> Shape:
        found = {
            name: self.after(candidate, inputs, names, (*path, name))
            for name, candidate in choice.candidates
        }
        if len(set(found.values())) > 1:
            shapes = ", ".join(f"{name} {shape}" for name, shape in found.items())
            raise at(path, f"the candidates of the choice give different shapes: {shapes}.")
        return next(iter(found.values()))

    def _after_repeated(
        self, repeated: Repeated, shape: Shape, names: Names, path: tuple[str, ...]
    ) -> Shape:
        searched = isinstance(repeated.times, tuple)
        for _ in range(times_of(repeated, shape, names, path)):
            out = self.after(repeated.operation, [shape], names, path)
            if searched and out != shape:
                raise at(path, f"what is repeated makes {out} of {shape}; where the depth is "
                         "searched it must keep the shape.")  # fmt: skip
            shape = out
        return shape


def times_of(repeated: Repeated, shape: Shape, names: Names, path: tuple[str, ...]) -> int:
    """Returns how often an operation is repeated, at most."""
    if isinstance(repeated.times, tuple):
        return repeated.times[1]
    try:
        times = evaluate(repeated.times, {**names, "c_in": shape[0]})
    except DescriptionError as error:
        raise at(path, error) from error
    if not isinstance(times, int) or times < 0:
        raise at(path, f"times '{repeated.times}' is {times}; it must be a whole number from 0.")
    return times


def joined_shape(node: Node, arriving: Sequence[Shape], path: tuple[str, ...]) -> Shape:
    """Returns the shape of a node's joined inputs.

    Raises:
        DescriptionError: If they do not fit together.
    """
    first = arriving[0]
    if node.join == "apart":
        return first
    same = [(len(shape), shape[1:]) if node.join == "concat" else shape for shape in arriving]
    if len(set(same)) > 1:
        shapes = ", ".join(f"{s} {shape}" for s, shape in zip(node.sources, arriving, strict=True))
        kind = node.join if isinstance(node.join, str) else node.join.join
        raise at(path, f"inputs of different shapes cannot be joined by {kind}: {shapes}.")
    return (sum(s[0] for s in arriving), *first[1:]) if node.join == "concat" else first


def at(path: tuple[str, ...], error: DescriptionError | str) -> DescriptionError:
    """Returns an error that names the node."""
    return DescriptionError(f"Node '{'/'.join(path)}': {error}", path)


@lru_cache(maxsize=8192)
def _shape_after(op: Op, factory: Any, given: tuple[Any, ...], shape: Shape) -> Shape:
    kwargs = {name: value for name, _, value in given}
    with torch.device("meta"):
        module = made(op, kwargs).eval()
        try:
            with torch.no_grad():
                out = module(torch.empty(2, *shape))
        except Exception as error:  # an operation is the user's own code
            raise DescriptionError(
                f"operation '{op.name}' ({shown(kwargs)}) fails on inputs of shape {shape}: {error}"
            ) from error
    if not isinstance(out, Tensor) or out.dim() < 2 or len(out) != 2 or 0 in out.shape:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise DescriptionError(
            f"operation '{op.name}' makes {found} of a batch (2, {', '.join(map(str, shape))}); it "
            "must give one tensor of the same batch that is not empty."
        )
    return tuple(out.shape[1:])
