"""What a graph computes, by plain functions: no module of nas_plugin runs here.

Only the data of a graph is read: names, parameters, edges, joins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Key → pairs of a candidate's position and its coefficient; None is a plain selection.
Decide = Callable[[str], Sequence[tuple[int, Any]]]


class Interpreter:
    """Computes a graph on weights under their names, in evaluation mode."""

    def __init__(self, weights: Mapping[str, Tensor], decide: Decide) -> None:
        self.weights, self.decide = weights, decide

    def graph(
        self, graph: Any, inputs: Sequence[Tensor], place: str = "", base: str = "",
        path: str = "", names: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """Computes a graph.

        Args:
            graph: The graph.
            inputs: One tensor per input.
            place: Path of its module, with a dot at the end.
            base: The given key above it.
            path: Its path below that key.
            names: What its parameters stand for.
        """
        if names is None:
            names = dict(graph.parameters)
        if graph.key is not None:
            base, path = graph.key, ""
        values = dict(zip(graph.inputs, inputs, strict=True))
        waiting = dict(graph.nodes)
        while waiting:
            for name, node in list(waiting.items()):
                if all(edge.source in values for edge in node.edges):
                    values[name] = self.node(
                        name, waiting.pop(name), values, place, base, path, names
                    )
        outs = [values[name] for name in graph.outputs]
        return outs[0] if len(outs) == 1 else tuple(outs)

    def node(
        self, name: str, node: Any, values: Mapping[str, Tensor], place: str, base: str,
        path: str, names: Mapping[str, Any],
    ) -> Any:  # fmt: skip
        arriving = []
        for edge in node.edges:
            x = values[edge.source]
            if edge.operation is not None:
                at = f"{place}edges.{name}.{edge.source}"
                key = below(path, f"edges/{name}/{edge.source}")
                x = self.operation(edge.operation, [x], at, base, key, names)
            arriving.append(x)
        if node.join == "apart":
            joined = arriving
        elif node.join == "concat":
            joined = [torch.cat(arriving, dim=1)]
        elif node.join in ("sum", "mean"):
            joined = [sum(arriving) / (len(arriving) if node.join == "mean" else 1)]
        else:
            key = node.join.key or below(base, below(path, f"joins/{name}"))
            chosen = self.decide(key)
            if not chosen:
                return torch.zeros_like(arriving[0])
            terms = [arriving[i] if c is None else c * arriving[i] for i, c in chosen]
            joined = [sum(terms) / (len(terms) if node.join.join == "mean" else 1)]
        if node.operation is None:
            return joined[0]
        return self.operation(node.operation, joined, place + name, base, below(path, name), names)

    def operation(
        self, operation: Any, inputs: Sequence[Tensor], place: str, base: str, path: str,
        names: Mapping[str, Any],
    ) -> Any:  # fmt: skip
        kind, again = type(operation).__name__, (base, path, names)
        if kind == "Op":
            return self.op(operation, inputs[0], place, names)
        if kind == "ModelGraph":
            known = {**names, "c_in": inputs[0].shape[1]}
            own = {name: number(value, known) for name, value in operation.parameters.items()}
            return self.graph(operation, inputs, place + ".", base, path, own)
        if operation.key is not None:
            base, path = operation.key, ""
            again = (base, path, names)
        if kind == "OneOf":
            out = 0
            for i, c in self.decide(below(base, path)):
                name, candidate = operation.candidates[i]
                at = f"{place}.{name}"
                made = self.operation(candidate, inputs, at, base, below(path, name), names)
                out = out + (made if c is None else c * made)
            return out
        x = inputs[0]
        if not isinstance(operation.times, tuple):
            for i in range(number(operation.times, {**names, "c_in": x.shape[1]})):
                x = self.operation(
                    operation.operation, [x], f"{place}.{i}", base, below(path, str(i)), names
                )
            return x
        low, high = operation.times
        depths = [x]
        for i in range(high):
            at = (f"{place}.{i}", again[0], below(again[1], str(i)), names)
            depths.append(self.operation(operation.operation, [depths[-1]], *at))
        chosen = self.decide(below(base, path))
        return sum(depths[low + i] if c is None else c * depths[low + i] for i, c in chosen)

    def op(self, op: Any, x: Tensor, place: str, names: Mapping[str, Any]) -> Tensor:
        w = {
            n.removeprefix(place + "."): t
            for n, t in self.weights.items()
            if n.startswith(place + ".")
        }
        given = {k: number(v, {**names, "c_in": x.shape[1]}) for k, v in op.parameters.items()}
        if op.name == "identity":
            return x
        if op.name == "relu":
            return x.clamp(min=0)
        if op.name == "max_pool":
            return F.max_pool2d(x, 3, 1, 1)
        if op.name == "batch_norm":
            return F.batch_norm(x, w["running_mean"], w["running_var"], w["weight"], w["bias"])
        assert op.name == "conv"
        padding = given.get("kernel", 1) // 2
        return F.conv2d(
            x, w["weight"], w.get("bias"), padding=padding, groups=given.get("groups", 1)
        )


def below(left: str, right: str) -> str:
    return f"{left}/{right}" if left and right else left or right


def number(value: Any, names: Mapping[str, Any]) -> Any:
    """Returns a value, or what Python makes of the expression."""
    if not isinstance(value, str):
        return value
    assert re.fullmatch(r"[\w\s()+*/-]+", value)
    return eval(value, {"__builtins__": {}}, dict(names))
