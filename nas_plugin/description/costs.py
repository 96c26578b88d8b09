"""What each node of a graph costs, without making the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from nas_plugin.description.compile import input_shapes
from nas_plugin.description.names import Shape
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Node, OneOf, Operation, Repeated
from nas_plugin.description.registered import arguments, factory_of, made
from nas_plugin.description.shapes import Flow, Names, Shapes, own_names, times_of
from nas_plugin.profiling import count_flops, count_params


@dataclass(frozen=True)
class Cost:
    """What a part of a model costs a sample.

    Args:
        params: Parameters of all candidates together, as a supernet holds them.
        least: Floating-point operations where every choice is the cheapest.
        most: Those where every choice is the dearest.
    """

    params: int = 0
    least: int = 0
    most: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.least + other.least, self.most + other.most)


def node_costs(
    graph: GraphView, input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None
) -> dict[str, tuple[Shape, Cost]]:
    """Returns node → its shape without the batch, and what it and its edges cost.

    Args:
        graph: The graph.
        input_shape: As `compile_graph` takes it.

    Raises:
        DescriptionError: As `compile_graph`.
    """
    inputs = input_shapes(graph, input_shape)
    names = own_names(graph, {}, inputs[0])
    counter = _Counter()
    flow = counter.shapes.flow(graph, inputs, names, ())
    return {
        name: (flow.leaving[name], counter.node(name, graph.nodes[name], flow, names))
        for name in graph.order()
    }


class _Counter:
    """Sums costs along shapes."""

    def __init__(self) -> None:
        self.shapes = Shapes()

    def node(self, name: str, node: Node, flow: Flow, names: Names) -> Cost:
        total = Cost()
        for edge in node.edges:
            if edge.operation is not None:
                total += self.operation(edge.operation, [flow.leaving[edge.source]], names)
        if node.operation is not None:
            reads = flow.arriving[name] if node.join == "apart" else [flow.joined[name]]
            total += self.operation(node.operation, reads, names)
        return total

    def operation(self, operation: Operation, inputs: Sequence[Shape], names: Names) -> Cost:
        shape = inputs[0]
        if isinstance(operation, Op):
            given = arguments(operation, shape[0], names)
            typed = tuple((name, repr(value), value) for name, value in given.items())
            return _cost_of(operation, factory_of(operation), typed, shape)
        if isinstance(operation, OneOf):
            found = [self.operation(part, inputs, names) for _, part in operation.candidates]
            return Cost(
                sum(cost.params for cost in found),
                min(cost.least for cost in found),
                max(cost.most for cost in found),
            )
        if isinstance(operation, Repeated):
            total, least = Cost(), None
            searched = isinstance(operation.times, tuple)
            for i in range(times_of(operation, shape, names, ())):
                if searched and i == operation.times[0]:  # type: ignore[index]
                    least = total.least
                total += self.operation(operation.operation, [shape], names)
                shape = self.shapes.after(operation.operation, [shape], names, ())
            return total if least is None else Cost(total.params, least, total.most)
        own = own_names(operation, names, shape)
        flow, total = self.shapes.flow(operation, inputs, own, ()), Cost()
        for name, node in operation.nodes.items():
            total += self.node(name, node, flow, own)
        return total


@lru_cache(maxsize=8192)
def _cost_of(op: Op, factory: Any, given: tuple[Any, ...], shape: Shape) -> Cost:
    with torch.device("meta"):
        module = made(op, {name: value for name, _, value in given})
        flops = count_flops(module, torch.empty(1, *shape))
    return Cost(count_params(module), flops, flops)
