"""A graph as a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.block import ChoiceBlock, Mutable, reduce_chosen
from nas_plugin.choice.fan_out import fan_out
from nas_plugin.choice.nothing import Nothing
from nas_plugin.description.join import AnyOf
from nas_plugin.description.operation import GraphView
from nas_plugin.errors import DescriptionError


class GraphModule(Mutable):
    """Runs a graph. What reads one node runs as one `fan_out`, so inputs stay as they are.

    The operation of a node is the child of its name, that of an edge ``edges.<target>.<source>``,
    and a choice of inputs ``joins.<node>``.

    Args:
        graph: The graph.
        nodes: Node → its operation.
        edges: Target and source → the operation of that edge.
        joins: Node → its choice of inputs.

    Shape:
        - Inputs: one tensor ``(N, C, …)`` for each input of the graph
        - Output: that of the graph's output, or a tuple of several
    """

    def __init__(
        self,
        graph: GraphView,
        nodes: Mapping[str, nn.Module],
        edges: Mapping[tuple[str, str], nn.Module],
        joins: Mapping[str, nn.Module],
    ) -> None:
        super().__init__(graph.key)
        self._graph = graph
        for name, module in nodes.items():
            self.add_module(name, module)
        for (target, source), module in edges.items():
            _holder(_holder(self, "edges"), target).add_module(source, module)
        for name, module in joins.items():
            _holder(self, "joins").add_module(name, module)
        self._nodes = dict(graph.nodes)
        self._wire(graph.order(), {name: node.sources for name, node in self._nodes.items()})

    @property
    def description(self) -> GraphView:
        """The graph that was compiled."""
        return self._graph

    def forward(self, *inputs: Tensor | None) -> Any:
        given = self._graph.inputs
        if len(inputs) != len(given):
            raise DescriptionError(
                f"The graph takes {len(given)} inputs ({', '.join(given)}), got {len(inputs)}."
            )
        values: dict[str, Any] = dict(zip(given, inputs, strict=True))
        arrived: dict[str, dict[str, Any]] = {name: {} for name in self._order}
        for name in given:
            self._leave(name, values[name], arrived)
        read = self._read() if self._has_loose else frozenset()
        for name in self._order:
            values[name] = self._value(name, arrived[name], read)
            self._leave(name, values[name], arrived)
        outs = tuple(values[name] for name in self._graph.outputs)
        return outs[0] if len(outs) == 1 else outs

    def drop_unread(self) -> set[str]:
        """Removes what does not reach the output, once an architecture is fixed.

        Returns:
            The inputs that are still read.
        """
        kept: dict[str, Sequence[str]] = {}
        reached, read = set(self._graph.outputs), self._read()
        for name in reversed(self._order):
            if name in reached:
                kept[name] = self._kept(name, read)
                reached.update(kept[name])
        for target, sources in self._sources.items():
            for source in sources:
                if source not in kept.get(target, ()):
                    _remove(self, f"edges.{target}.{source}")
            if target not in kept:
                _remove(self, f"joins.{target}")
            if target not in kept or not self._taken(target):
                _remove(self, target)
        self._wire([name for name in self._order if name in kept], kept)
        return reached & set(self._graph.inputs)

    def _wire(self, order: Sequence[str], sources: Mapping[str, Sequence[str]]) -> None:
        """Says what reads what: a node's operation at once where it reads one value as it is."""
        self._order = list(order)
        self._sources = {name: tuple(sources[name]) for name in order}
        self._has_loose = any(self._nodes[name].join == "loose" for name in order)
        self._at_once = {
            name
            for name in order
            if len(self._nodes[name].edges) == 1
            and name in self._modules
            and self._join_of(name) is None
            and self._on_edge(name, self._sources[name][0]) is None
        }
        named = ((n, m) for n, m in self.named_modules() if isinstance(m, ChoiceBlock))
        self._a_choice = next((n for n, _ in named), None)
        self._readers: dict[str, list[str]] = {}
        for name in order:
            for source in self._sources[name]:
                self._readers.setdefault(source, []).append(name)

    def _leave(self, name: str, value: Any, arrived: Mapping[str, dict[str, Any]]) -> None:
        """Hands a value to what reads it, through the operations on the edges."""
        targets, blocks = [], []
        for target in self._readers.get(name, ()):
            arrived[target][name] = value
            block = self._on_edge(target, name)
            if target in self._at_once:
                block = self.get_submodule(target)
            if block is not None and self._nodes[target].join != "loose":
                targets.append(target)
                blocks.append(block)
        for target, out in zip(targets, self._run(value, blocks), strict=True):
            arrived[target][name] = out

    def _value(self, name: str, arrived: Mapping[str, Any], read: frozenset[str]) -> Any:
        if self._nodes[name].join == "apart":
            return self.get_submodule(name)(*map(arrived.get, self._nodes[name].sources))
        joined = self._joined(name, arrived, read)
        if joined is None:
            return torch.zeros_like(next(iter(arrived.values())))
        if name in self._at_once or name not in self._modules:
            return joined
        return self._run(joined, [self.get_submodule(name)])[0]

    def _joined(self, name: str, arrived: Mapping[str, Any], read: frozenset[str]) -> Any:
        node = self._nodes[name]
        chosen = self._join_of(name)
        if chosen is not None:
            return chosen([arrived.get(source) for source in node.sources])
        join = "sum" if isinstance(node.join, AnyOf) else node.join
        sources: Sequence[str] = self._sources[name]
        outs = [arrived[source] for source in sources]
        if join == "loose":
            sources = [source for source in sources if source not in read]
            outs = [self._through(name, source, arrived[source]) for source in sources]
        return reduce_chosen(outs, sources, "sum" if join == "loose" else join, name)  # type: ignore[arg-type]

    def _through(self, target: str, source: str, value: Any) -> Any:
        block = self._on_edge(target, source)
        return value if block is None else self._run(value, [block])[0]

    def _run(self, value: Any, blocks: Sequence[nn.Module]) -> list[Any]:
        return fan_out(value, blocks, beside=self._beside()) if blocks else []

    def _beside(self) -> nn.Module | None:
        """Returns a choice block, whose dispatcher serves what stands beside it."""
        return None if self._a_choice is None else self.get_submodule(self._a_choice)

    def _on_edge(self, target: str, source: str) -> nn.Module | None:
        return _below(self, "edges", target, source)

    def _join_of(self, name: str) -> nn.Module | None:
        return _below(self, "joins", name)

    def _read(self) -> frozenset[str]:
        """Returns what is read in this step, other than by joins of what is loose."""
        read: set[str] = set()
        for name in self._order:
            if self._nodes[name].join != "loose":
                sources = self._nodes[name].sources
                read.update(sources[i] for i in self._taken(name))
        return frozenset(read)

    def _taken(self, name: str) -> Sequence[int]:
        """Returns which inputs the join of a node takes in this step."""
        join = self._join_of(name)
        if join is None:
            return range(len(self._nodes[name].edges))
        if isinstance(join, ChoiceBlock):
            return join.decision().active
        indices: Sequence[int] = join.indices  # type: ignore[assignment]
        return indices

    def _kept(self, name: str, read: frozenset[str]) -> Sequence[str]:
        """Returns the sources of a node that matter once its join is fixed."""
        node, module = self._nodes[name], self._modules.get(name)
        if node.join == "loose":
            return [source for source in self._sources[name] if source not in read]
        if node.join == "apart" and isinstance(module, GraphModule):
            inputs = module.drop_unread()
            pairs = zip(module.description.inputs, node.sources, strict=True)
            return [source for name, source in pairs if name in inputs]
        # The first stays where none is taken: it says of what shape the zeros are.
        return [node.sources[i] for i in self._taken(name)] or node.sources[:1]


def _holder(module: nn.Module, name: str) -> nn.Module:
    """Returns the child of a name, a module that only holds others; makes it if there is none."""
    if name not in module._modules:
        module.add_module(name, nn.Module())
    return module.get_submodule(name)


def _below(module: nn.Module | None, *names: str) -> nn.Module | None:
    """Returns what lies at the end of a path, if there is something."""
    for name in names:
        module = None if module is None else module._modules.get(name)
    return module


def _remove(module: nn.Module, path: str) -> None:
    """Puts nothing in the place of a module, if there is one."""
    if _below(module, *path.split(".")) is not None:
        module.set_submodule(path, Nothing())
