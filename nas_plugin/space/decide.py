"""An architecture as the decisions that run it inside a supernet."""

from __future__ import annotations

from nas_plugin.choice.decision import Decision
from nas_plugin.space.architecture import Architecture
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
