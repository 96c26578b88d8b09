"""From a graph to a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nas_plugin.choice.input_choice import InputChoice
from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.choice.repeat import Repeat
from nas_plugin.description.check import check_complete
from nas_plugin.description.join import AnyOf
from nas_plugin.description.keys import names_of
from nas_plugin.description.module import GraphModule
from nas_plugin.description.names import Shape, checked_shape
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Node, OneOf, Operation, Repeated
from nas_plugin.description.registered import arguments, made
from nas_plugin.description.shapes import Names, Shapes, at, own_names, times_of
from nas_plugin.errors import DescriptionError


def compile_graph(
    graph: GraphView,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
) -> GraphModule:
    """Makes the module of a graph; its choices become LayerChoice, InputChoice and Repeat.

    Args:
        graph: The graph. `graph.with_parameters(channels=32)` is the same with other numbers.
        input_shape: Without the batch, ``(3, 32, 32)`` for example, or input → shape; those that
            the graph gives its inputs if None.

    Raises:
        DescriptionError: If a node leads nowhere, an operation does not fit, or a shape is
            missing; it names the node.
        ChoiceError: If choices inside operations have the keys of others.
    """
    check_complete(graph)
    shapes = input_shapes(graph, input_shape)
    model = _Compiler().graph(graph.frozen(), shapes, own_names(graph, {}, shapes[0]), ())
    keyed_blocks(model)
    return model


def carry_weights(source: nn.Module, target: nn.Module) -> list[str]:
    """Copies weights and buffers to those of equal name and shape: to the nodes left untouched.

    Returns:
        The names that were copied.
    """
    known, copied = source.state_dict(), []
    with torch.no_grad():
        for name, tensor in target.state_dict().items():
            if name in known and known[name].shape == tensor.shape:
                tensor.copy_(known[name])
                copied.append(name)
    return copied


def input_shapes(
    graph: GraphView, given: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> list[Shape]:
    """Returns the shape of each input.

    Raises:
        DescriptionError: If one is missing.
    """
    if given is None:
        given = {name: shape for name, shape in graph.inputs.items() if shape is not None}
    if not isinstance(given, Mapping):
        given = {next(iter(graph.inputs)): given}
    if set(given) != set(graph.inputs):
        raise DescriptionError(
            f"The graph reads the inputs {', '.join(graph.inputs)}; shapes are given for "
            f"{', '.join(given) or 'none'}. Give input_shape, or shapes where the graph is made."
        )
    return [checked_shape(given[name], name) for name in graph.inputs]


class _Compiler:
    """Makes modules of operations, following shapes."""

    def __init__(self) -> None:
        self.shapes = Shapes()

    def graph(
        self, graph: GraphView, inputs: Sequence[Shape], names: Names, path: tuple[str, ...]
    ) -> GraphModule:
        flow = self.shapes.flow(graph, inputs, names, path)
        nodes: dict[str, nn.Module] = {}
        edges: dict[tuple[str, str], nn.Module] = {}
        joins: dict[str, nn.Module] = {}
        for name in graph.order():
            node, here = graph.nodes[name], (*path, name)
            for edge in node.edges:
                if edge.operation is not None:
                    shape = flow.leaving[edge.source]
                    edges[name, edge.source] = self.module(edge.operation, [shape], names, here)
            if isinstance(node.join, AnyOf):
                joins[name] = input_choice(node, node.join)
            if node.operation is not None:
                reads = flow.arriving[name] if node.join == "apart" else [flow.joined[name]]
                nodes[name] = self.module(node.operation, reads, names, here)
        return GraphModule(graph, nodes, edges, joins)

    def module(
        self, operation: Operation, inputs: Sequence[Shape], names: Names, path: tuple[str, ...]
    ) -> nn.Module:
        if isinstance(operation, Op):
            try:
                return made(operation, arguments(operation, inputs[0][0], names))
            except DescriptionError as error:
                raise at(path, error) from error
        if isinstance(operation, OneOf):
            made_of = {
                name: self.module(candidate, inputs, names, (*path, name))
                for name, candidate in operation.candidates
            }
            return LayerChoice(made_of, key=operation.key)
        if isinstance(operation, Repeated):
            return self.repeated(operation, inputs[0], names, path)
        return self.graph(operation, inputs, own_names(operation, names, inputs[0]), path)

    def repeated(
        self, repeated: Repeated, shape: Shape, names: Names, path: tuple[str, ...]
    ) -> nn.Module:
        blocks: list[nn.Module] = []
        for _ in range(times_of(repeated, shape, names, path)):
            blocks.append(self.module(repeated.operation, [shape], names, path))
            shape = self.shapes.after(repeated.operation, [shape], names, path)
        if isinstance(repeated.times, tuple):
            return Repeat(blocks.__getitem__, repeated.times, key=repeated.key)
        return nn.Sequential(*blocks)


def input_choice(node: Node, join: AnyOf) -> InputChoice:
    """Returns the choice of a node's inputs."""
    return InputChoice(
        choose_from=names_of(node), n_chosen=join.n, reduction=join.join, key=join.key
    )
