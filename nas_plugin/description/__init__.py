"""Models as graphs that people can edit: YAML, graph, module."""

from nas_plugin.description.compile import carry_weights, compile_graph
from nas_plugin.description.costs import Cost, node_costs
from nas_plugin.description.describe import Description, describe, model_from_file
from nas_plugin.description.graph import ModelGraph
from nas_plugin.description.join import AnyOf
from nas_plugin.description.module import GraphModule
from nas_plugin.description.op import Op
from nas_plugin.description.operation import Link, Node, OneOf, Repeated
from nas_plugin.description.read import from_yaml, read_graph
from nas_plugin.description.write import to_yaml, write_graph

__all__ = [
    "AnyOf",
    "Cost",
    "Description",
    "GraphModule",
    "Link",
    "ModelGraph",
    "Node",
    "OneOf",
    "Op",
    "Repeated",
    "carry_weights",
    "compile_graph",
    "describe",
    "from_yaml",
    "model_from_file",
    "node_costs",
    "read_graph",
    "to_yaml",
    "write_graph",
]
