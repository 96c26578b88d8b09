"""How published benchmarks spell architectures, and the same in keys and choices."""

from nas_plugin.space.encodings import nasbench1shot1, nasbench101, nasbench201
from nas_plugin.space.encodings.nasbench1shot1 import OneShotSpace
from nas_plugin.space.encodings.nasbench101 import Graph

__all__ = ["Graph", "OneShotSpace", "nasbench1shot1", "nasbench101", "nasbench201"]
