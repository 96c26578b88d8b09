"""Who runs which choice block, and why not faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from nas_plugin.choice.keys import keyed_blocks, unwrap
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.execution.advice import layout_advice
from nas_plugin.execution.dispatch import Dispatcher
from nas_plugin.execution.fan import Fan, Schedule, block_refusal


@dataclass(frozen=True)
class Service:
    """Who ran a block in the last forward pass.

    Args:
        path: Where the block stands in the model.
        n_candidates: K; 1 for a module that is no choice block.
        served: Executor → how many candidates it ran.
        reasons: Why candidates, or the whole block, ran as modules.
    """

    path: str
    n_candidates: int
    served: Mapping[str, int]
    reasons: tuple[str, ...]

    @property
    def is_served(self) -> bool:
        """Whether executors ran every candidate."""
        return sum(self.served.values()) == self.n_candidates

    def __str__(self) -> str:
        who = ", ".join(
            f"{name} runs {n} of {self.n_candidates}" for name, n in self.served.items()
        )
        why = "; ".join(self.reasons)
        return f"{self.path}: {who or 'module by module'}{f' ({why})' if why else ''}"


def services(model: nn.Module) -> list[Service]:
    """Returns who ran each choice block, and each preprocessing module, in the last forward pass.

    Blocks of which no dense pass is known are told so.
    """
    root = unwrap(model)
    paths = {id(module): path for path, module in root.named_modules()}
    places = {id(place.block): place for place in keyed_blocks(root)}
    found: dict[str, Service] = {}
    dispatchers = []
    for place in places.values():
        binding = place.block.binding
        if binding is not None and isinstance(binding.dispatch, Dispatcher):
            dispatchers.append(binding.dispatch)
    for dispatcher in dict.fromkeys(dispatchers):
        for fan in dispatcher.fans:
            if fan.last is None:
                continue
            for row, block in enumerate(fan.blocks):
                if id(block) in paths:
                    path = paths[id(block)]
                    found[path] = _service(path, fan, fan.last, row)
    for place in places.values():
        if place.path not in found:
            why = block_refusal(place.block, dense=True) or (
                "it ran in no fan-out, or not densely"
                if dispatchers
                else "execution is eager, or nothing decides the block"
            )
            n = len(place.block.candidates)
            found[place.path] = Service(place.path, n, {}, (why,))
    order = {path: i for i, path in enumerate(paths.values())}
    return sorted(found.values(), key=lambda service: order.get(service.path, len(order)))


def explain(model: nn.Module) -> list[str]:
    """Returns the layout that is faster, then who ran each block and preprocessing module, and why.

    What it says is what happened in the last forward pass: which executor serves a candidate
    depends on the blocks that read one tensor with it, on the mode, and on that tensor.
    """
    last, why = layout_advice(model)
    layout = f"layout: {'channels last' if last else 'plain'} ({why})"
    return [layout, *(str(service) for service in services(model))]


def _service(path: str, fan: Fan, schedule: Schedule, row: int) -> Service:
    block = fan.blocks[row]
    served: dict[str, int] = {}
    for (at, _), name in schedule.served_by.items():
        if at == row:
            served[name] = served.get(name, 0) + 1
    reasons = []
    for (at, k), why in schedule.refused.items():
        if at != row or (at, k) in schedule.served_by:
            continue
        label = f"'{block.names[k]}' " if isinstance(block, LayerChoice) and k >= 0 else ""
        reasons.append(label + ", ".join(why))
    n = len(block) if isinstance(block, LayerChoice) else 1
    return Service(path, n, served, tuple(reasons))
