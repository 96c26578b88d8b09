"""What holds of every graph after every edit, and what holds of a complete one."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import networkx

from nas_plugin.description.expression import names_in
from nas_plugin.description.join import AnyOf
from nas_plugin.description.keys import check_keys
from nas_plugin.description.op import Op
from nas_plugin.description.operation import GraphView, Node, OneOf, Operation, Repeated, n_inputs
from nas_plugin.description.registered import check_parameters
from nas_plugin.description.shapes import node_shapes
from nas_plugin.errors import DescriptionError

#: Attributes that a compiled graph and a layer choice have beside those of their classes.
_OF_GRAPHS = frozenset(("edges", "given_key", "joins", "serial", "training"))
_OF_CHOICES = frozenset(
    ("auxiliary", "auxiliary_scale", "given_key", "names", "partial", "reduction", "return_mask",
     "serial", "training")
)  # fmt: skip


def check(graph: GraphView) -> None:
    """Checks what every edit keeps.

    Raises:
        DescriptionError: If something is wrong; it names the node.
    """
    known = {*graph.inputs, *graph.nodes}
    for name, node in graph.nodes.items():
        _check_name(name)
        _check_edges(name, node, known)
        for operation in node.operations():
            try:
                check_operation(operation, graph.parameters)
            except DescriptionError as error:
                path = (name, *error.path)
                raise DescriptionError(f"Node '{name}': {error}", path) from error
    for name in graph.outputs:
        if name not in known:
            raise DescriptionError(f"The output '{name}' is no node. Set the outputs first.")
    if len(set(graph.outputs)) != len(graph.outputs):
        raise DescriptionError(f"An output is given twice: {', '.join(graph.outputs)}.")
    _check_acyclic(graph)
    _check_loose(graph)
    check_keys(graph)
    shapes = [shape for shape in graph.inputs.values() if shape is not None]
    if len(shapes) == len(graph.inputs):
        node_shapes(graph, shapes)


def check_complete(graph: GraphView) -> None:
    """Checks that every node leads to an output.

    Raises:
        DescriptionError: If one does not.
    """
    if len(graph.outputs) > 1 and not graph.outputs_are_set:
        raise DescriptionError(
            f"Nobody reads {' and '.join(graph.outputs)}. One is the output: let nodes read the "
            "others, remove them, or set the outputs.",
            (graph.outputs[0],),
        )
    digraph, reached = graph.digraph, set(graph.outputs)
    for output in graph.outputs:
        reached |= networkx.ancestors(digraph, output)
    for name in graph.nodes:
        if name not in reached:
            raise DescriptionError(
                f"Node '{name}' does not reach the output '{', '.join(graph.outputs)}'. Let a node "
                "read it, remove it, or set it as an output.",
                (name,),
            )


def check_operation(operation: Operation, parameters: Collection[str]) -> None:
    """Checks that an operation is known, and its arguments and numbers are lawful.

    Args:
        operation: What stands on a node or an edge.
        parameters: The names that its expressions may hold, beside `c_in`.

    Raises:
        DescriptionError: If something is wrong.
    """
    if isinstance(operation, Op):
        for amount in check_parameters(operation):
            _check_names(amount, parameters)
    elif isinstance(operation, OneOf):
        for name, candidate in operation.candidates:
            _check_candidate(name)
            check_operation(candidate, parameters)
        reads = {n_inputs(candidate) for _, candidate in operation.candidates}
        if len(reads) > 1:
            raise DescriptionError(
                f"The candidates of a choice read {reads} inputs; let all agree."
            )
    elif isinstance(operation, Repeated):
        if isinstance(operation.times, str):
            _check_names(operation.times, parameters)
        if n_inputs(operation.operation) > 1 or _n_outputs(operation.operation) > 1:
            raise DescriptionError("What is repeated has one input and one output.")
        check_operation(operation.operation, parameters)
    else:
        if len(operation.outputs) > 1:
            raise DescriptionError(
                f"A graph inside a graph has one output, not {', '.join(operation.outputs)}."
            )
        for value in operation.parameters.values():
            if isinstance(value, str):
                _check_names(value, parameters)


def _n_outputs(operation: Operation) -> int:
    return 1 if isinstance(operation, (Op, OneOf, Repeated)) else len(operation.outputs)


def _check_names(expression: str, parameters: Collection[str]) -> None:
    for name in sorted(names_in(expression)):
        if name not in parameters and name != "c_in":
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            known = ", ".join([*parameters, "c_in"])
            raise DescriptionError(
                f"'{expression}' holds '{name}', which is no parameter of the graph.{hint} "
                f"Known: {known}."
            )


def _check_name(name: str) -> None:
    from nas_plugin.description.module import GraphModule

    if hasattr(GraphModule, name) or name in _OF_GRAPHS:
        raise DescriptionError(
            f"The name '{name}' is taken by torch modules. Choose another for the node.", (name,)
        )


def _check_candidate(name: str) -> None:
    from nas_plugin.choice.layer_choice import LayerChoice

    if not isinstance(name, str) or not name.isprintable() or not name or {".", "/"} & set(name):
        raise DescriptionError(
            f"The name of a candidate is printable text without '.' and '/', got {name!r}."
        )
    if hasattr(LayerChoice, name) or name in _OF_CHOICES:
        raise DescriptionError(
            f"The name '{name}' is taken by choice blocks. Choose another for the candidate."
        )


def _check_edges(name: str, node: Node, known: Collection[str]) -> None:
    if not node.edges:
        raise DescriptionError(f"Node '{name}' would be left without an input.", (name,))
    for source in node.sources:
        if source not in known:
            near = difflib.get_close_matches(source, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise DescriptionError(f"Node '{name}' reads '{source}', which is none.{hint}", (name,))
    if len(set(node.sources)) != len(node.sources):
        raise DescriptionError(
            f"Node '{name}' reads one node twice: {', '.join(node.sources)}. Put a node on one of "
            "the ways.", (name,),
        )  # fmt: skip
    for edge in node.edges:
        if edge.operation is not None and n_inputs(edge.operation) > 1:
            raise DescriptionError(
                f"The edge from '{edge.source}' to '{name}' holds an operation of several inputs. "
                "Put it on a node.", (name,),
            )  # fmt: skip
    wanted = n_inputs(node.operation)
    if (wanted > 1) != (node.join == "apart") or (wanted > 1 and len(node.edges) != wanted):
        raise DescriptionError(
            f"Node '{name}' holds an operation of {wanted} inputs, reads {len(node.edges)} nodes "
            f"and joins them by '{node.join}'. A graph of several inputs reads as many nodes, "
            "apart; all else is joined.", (name,),
        )  # fmt: skip
    if isinstance(node.join, AnyOf) and (node.join.n or 1) > len(node.edges):
        raise DescriptionError(
            f"Node '{name}' chooses {node.join.n} of its {len(node.edges)} inputs.", (name,)
        )


def _check_acyclic(graph: GraphView) -> None:
    try:
        cycle = networkx.find_cycle(graph.digraph)
    except networkx.NetworkXNoCycle:
        return
    names = [source for source, _ in cycle]
    raise DescriptionError(
        f"These nodes would form a cycle: {' -> '.join([*names, names[0]])}. A node reads only "
        "what does not depend on it.",
        (names[0],),
    )


def _check_loose(graph: GraphView) -> None:
    for name, node in graph.nodes.items():
        if node.join == "loose" and all(len(graph.readers(s)) > 1 for s in node.sources):
            raise DescriptionError(
                f"Node '{name}' sums what no other node reads, but all its inputs are read by "
                "others, so that nothing may be left. Add one that is not, or use another join.",
                (name,),
            )
