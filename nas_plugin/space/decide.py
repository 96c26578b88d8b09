"""An architecture as the decisions that run it inside a supernet."""

from __future__ import annotations

from collections.abc import Mapping

from nas_plugin.choice.decision import Decision
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Value
from nas_plugin.space.search_space import SearchSpace


def decisions_of(space: SearchSpace, architecture: Architecture) -> dict[str, Decision]:
    """Returns plain selections; keys that do not matter select nothing."""
    decisions = {}
    for key, choice in space.items():
        value = architecture.get(key, ())
        chosen = value if isinstance(value, tuple) else (value,)
        active = tuple(sorted(choice.candidates.index(entry) for entry in chosen))
        decisions[key] = Decision(None, active)
    return decisions


def architecture_of(space: SearchSpace, decisions: Mapping[str, Decision]) -> Architecture:
    """Returns the architecture of plain selections, as `decisions_of` makes them."""
    chosen: dict[str, Value] = {}
    for choice in space.order:
        if choice.is_active(chosen):
            names = tuple(choice.candidates[i] for i in decisions[choice.key].active)
            chosen[choice.key] = names if choice.kind == "input" else names[0]
    return Architecture(chosen)
