"""A cell: nodes in a row, a layer choice on every edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas_plugin.choice.block import Mutable, is_one_of
from nas_plugin.choice.fan_out import fan_out
from nas_plugin.choice.input_choice import InputChoice
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.choice.nothing import Nothing
from nas_plugin.errors import ChoiceError

EdgeFactory = Callable[[int, int], Mapping[str, nn.Module]]


class Cell(Mutable):
    """A directed acyclic graph in which node j reads every earlier node i.

    Nodes ``0 … n_inputs - 1`` are the inputs. The edge from i to j is the LayerChoice
    ``{key}_n{j}_p{i}``; the InputChoice ``{key}_n{j}_switch`` keeps `n_chosen` of a node's edges.
    Cells of one key share all decisions. What leaves one node runs as one `fan_out`, so no edge
    sees what another writes, and inputs stay as they are. The output is never one of the inputs,
    whatever identities were chosen: it may be written in place.

    Args:
        key: The start of the keys.
        edge: ``(node, source)`` → the candidates of that edge.
        n_nodes: Intermediate nodes.
        n_inputs: Input nodes.
        n_chosen: Edges that an architecture keeps a node; None keeps all and makes no InputChoice.
        preprocess: One module an input, or None.
        partial: As `LayerChoice` takes it; `edge` then gives candidates of C / partial channels.
        output: ``concat`` joins the intermediate nodes (dim 1), ``last`` gives the last.

    Shape:
        - Inputs: `n_inputs` tensors ``(N, C, H, W)`` after preprocessing
        - Output: ``(N, n_nodes * C, H', W')`` or ``(N, C, H', W')``

    Raises:
        ChoiceError: If the numbers contradict each other.
    """

    def __init__(
        self,
        key: str,
        edge: EdgeFactory,
        *,
        n_nodes: int,
        n_inputs: int = 2,
        n_chosen: int | None = 2,
        preprocess: Sequence[nn.Module] | None = None,
        partial: int = 1,
        output: Literal["concat", "last"] = "concat",
    ) -> None:
        super().__init__(key)
        if n_nodes < 1 or n_inputs < 1 or (n_chosen is not None and n_chosen > n_inputs):
            raise ChoiceError(
                f"Cell '{key}' needs at least one node and one input, and n_chosen <= n_inputs; "
                f"got n_nodes={n_nodes}, n_inputs={n_inputs}, n_chosen={n_chosen}."
            )
        if preprocess is not None and len(preprocess) != n_inputs:
            raise ChoiceError(
                f"Cell '{key}' has {n_inputs} inputs, but preprocess has {len(preprocess)} modules."
            )
        if output not in ("concat", "last"):
            raise ChoiceError(f"Cell '{key}': output must be concat or last, got {output!r}.")
        self.n_inputs, self.n_nodes, self.output = n_inputs, n_nodes, output
        self.preprocess = nn.ModuleList(preprocess or [])
        self.edges = nn.ModuleDict()
        self.switches = nn.ModuleDict()
        for node in range(n_inputs, n_inputs + n_nodes):
            keys = [f"{key}_n{node}_p{source}" for source in range(node)]
            for source in range(node):
                choice = LayerChoice(edge(node, source), key=keys[source], partial=partial)
                self.edges[f"n{node}_p{source}"] = choice
            if n_chosen is not None:
                switch = InputChoice(
                    choose_from=keys, n_chosen=n_chosen, key=f"{key}_n{node}_switch"
                )
                self.switches[f"n{node}"] = switch

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != self.n_inputs:
            raise ChoiceError(
                f"Cell '{self.given_key}' takes {self.n_inputs} inputs, got {len(inputs)}."
            )
        states = list(inputs)
        edge = next(iter(self.edges.values()), None)
        for i, module in enumerate(self.preprocess):
            states[i] = fan_out(states[i], [module], beside=edge)[0]
        last = self.n_inputs + self.n_nodes
        arriving: dict[int, list[Any]] = {node: [] for node in range(self.n_inputs, last)}
        for source in range(last - 1):
            if source >= self.n_inputs:
                states.append(self._join(source, arriving[source]))
            nodes = range(max(source + 1, self.n_inputs), last)
            edges = [self.edges[f"n{node}_p{source}"] for node in nodes]
            for node, out in zip(nodes, fan_out(states[source], edges), strict=True):
                arriving[node].append(out)
        states.append(self._join(last - 1, arriving[last - 1]))
        if self.output == "concat":
            return torch.cat(states[self.n_inputs :], dim=1)
        return states[-1].clone() if is_one_of(states[-1], inputs) else states[-1]

    def drop_unread(self) -> None:
        """Removes what does not reach the output, once an architecture is fixed."""
        last = self.n_inputs + self.n_nodes - 1
        reached = set(range(self.n_inputs, last + 1)) if self.output == "concat" else {last}
        for node in range(last, self.n_inputs - 1, -1):
            name = f"n{node}"
            chosen = getattr(self.switches[name], "indices", ()) if self.switches else range(node)
            if node in reached:
                reached.update(chosen)
                continue
            self.switches[name] = Nothing()
            for source in range(node):
                self.edges[f"n{node}_p{source}"] = Nothing()
        for i in range(len(self.preprocess)):
            if i not in reached:
                self.preprocess[i] = Nothing()

    def _join(self, node: int, arriving: list[Any]) -> Any:
        name = f"n{node}"
        if name in self.switches:
            return self.switches[name](arriving)
        total = arriving[0]
        for out in arriving[1:]:
            total = total + out
        return total
