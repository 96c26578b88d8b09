"""The description of a space, or of an architecture that was found in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.keys import unwrap
from nas_plugin.description.compile import compile_graph
from nas_plugin.description.graph import ModelGraph
from nas_plugin.description.module import GraphModule
from nas_plugin.description.read import read_graph
from nas_plugin.description.resolve import resolved
from nas_plugin.errors import SpaceError
from nas_plugin.files.read import PathLike
from nas_plugin.space.collect import search_space
from nas_plugin.space.fix import ArchitectureSource, apply_fixed_architecture, read_architecture
from nas_plugin.space.spaces import spaces

Space = str | nn.Module | ModelGraph | Callable[..., nn.Module]


@dataclass(frozen=True)
class Description:
    """A graph, and how the tensors of its compiled module are called in the model it describes.

    Args:
        graph: The graph.
        names: Name in the compiled module → name in the model.
    """

    graph: ModelGraph
    names: Mapping[str, str]

    def state_dict(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a state_dict of the model as one of ``compile_graph(description.graph)``.

        Raises:
            SpaceError: If it lacks a tensor.
        """
        for name in self.names.values():
            if name not in weights:
                raise SpaceError(
                    f"The weights lack '{name}'. They must be those of the model that was "
                    "described, fixed to the same architecture."
                )
        return {name: weights[old] for name, old in self.names.items()}

    @classmethod
    def of_prefixes(cls, graph: ModelGraph, prefixes: Mapping[str, str]) -> Description:
        """Returns a description of a model whose modules are called otherwise.

        Args:
            graph: The graph.
            prefixes: Path of a module in the compiled graph → path in the model.
        """
        with torch.device("meta"):
            compiled = compile_graph(graph)
        return cls(graph, {name: _renamed(name, prefixes) for name in compiled.state_dict()})


def describe(
    space: Space, architecture: ArchitectureSource | None = None, **sizes: Any
) -> Description:
    """Describes a space, or one of its architectures with choices made and dead parts gone.

    Args:
        space: Name of a shipped space, its model or a factory of it, a graph, or a compiled graph.
            A model of one's own has a method ``description()`` that returns a `Description`.
        architecture: Key → choice, or the path of an architecture file.
        **sizes: As the space takes them.

    Raises:
        SpaceError: If the model does not describe itself.
        ArchitectureError: If the architecture does not fit.
    """
    model = _model(space, sizes)
    described = _described(model)
    if architecture is None:
        return described
    chosen = search_space(model).architecture(read_architecture(architecture))
    graph, renamed = resolved(described.graph, chosen)
    return Description(graph, _fixed_names(model, described, graph, renamed, chosen))


def model_from_file(path: PathLike, **parameters: Any) -> GraphModule:
    """Returns the compiled model of a description file, with other values of its parameters."""
    return compile_graph(read_graph(path, **parameters))


def _model(space: Space, sizes: Mapping[str, Any]) -> nn.Module:
    if isinstance(space, ModelGraph):
        return compile_graph(space.with_parameters(**sizes))
    if isinstance(space, nn.Module):
        return unwrap(space)
    return (spaces.get(space) if isinstance(space, str) else space)(**sizes)


def _described(model: nn.Module) -> Description:
    if isinstance(model, GraphModule):
        graph = model.description
        assert isinstance(graph, ModelGraph)
        return Description(graph, {name: name for name in model.state_dict()})
    description = getattr(model, "description", None)
    if not callable(description):
        raise SpaceError(
            f"A {type(model).__name__} does not describe itself: it has no method description() "
            "that returns a Description. Cell spaces have one."
        )
    found: Description = description()
    return found


def _fixed_names(
    model: nn.Module, described: Description, graph: ModelGraph, renamed: Mapping[str, str],
    chosen: Mapping[str, Any],
) -> dict[str, str]:  # fmt: skip
    """Follows every tensor: compiled, fixed graph, graph, model, fixed model."""
    with torch.device("meta"):
        supernet, child = compile_graph(described.graph), compile_graph(graph)
    of_supernet = _names_before_fixing(supernet, chosen)
    of_model = {old: new for new, old in _names_before_fixing(copy.deepcopy(model), chosen).items()}
    found = {}
    for name in child.state_dict():
        in_supernet = of_supernet[_renamed(name, renamed)]
        found[name] = of_model[described.names[in_supernet]]
    return found


def _names_before_fixing(model: nn.Module, chosen: Mapping[str, Any]) -> dict[str, str]:
    """Returns name after fixing → name before, of every tensor; the model is fixed in place."""
    before = {id(tensor): name for name, tensor in _tensors(model).items()}
    fixed = apply_fixed_architecture(model, dict(chosen))
    after = _tensors(fixed).items()
    return {name: before[id(tensor)] for name, tensor in after if id(tensor) in before}


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Returns a tensor's name with the longest of the prefixes that it has replaced."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        prefix = ".".join(parts[:n])
        if prefix in prefixes:
            return ".".join([prefixes[prefix], *parts[n:]])
    return name
