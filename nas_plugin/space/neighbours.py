"""Steps through a search space: neighbours, mutation, crossover."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from nas_plugin.errors import SpaceError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.search_space import SearchSpace


def neighbours(space: SearchSpace, architecture: Architecture, rng: Random) -> list[Architecture]:
    """Returns every architecture that differs in the value of one active key.

    Where the new value makes other keys active, those are sampled with `rng`.
    """
    return [
        space.complete({**architecture, choice.key: value}, rng)
        for choice in space.order
        if choice.key in architecture
        for value in _near_values(choice, architecture[choice.key])
    ]


def mutate(space: SearchSpace, architecture: Architecture, rng: Random) -> Architecture:
    """Changes one active key, drawn uniformly, to another value, drawn uniformly.

    Raises:
        SpaceError: If the space has a single architecture.
    """
    changeable = [c for c in space.order if c.key in architecture and c.count() > 1]
    if not changeable:
        raise SpaceError("No active choice has a second value, so nothing can be mutated.")
    choice = changeable[rng.randrange(len(changeable))]
    value = other_value(choice, architecture[choice.key], rng)
    return space.complete({**architecture, choice.key: value}, rng)


def crossover(
    space: SearchSpace, mother: Architecture, father: Architecture, rng: Random
) -> Architecture:
    """Takes every key from one parent or the other with equal probability."""
    mixed: dict[str, Value] = {}
    for key in space:
        holders = [parent for parent in (mother, father) if key in parent]
        if holders:
            mixed[key] = holders[rng.randrange(len(holders))][key]
    return space.complete(mixed, rng)


def other_value(choice: Choice, value: Value, rng: Random) -> Value:
    """Draws a value that differs from `value`: one step away for an input choice."""
    if choice.kind != "input":
        others: list[Value] = [option for option in choice.options if option != value]
    else:
        others = list(_near_values(choice, value))
    return others[rng.randrange(len(others))]


def _near_values(choice: Choice, value: Value) -> Iterator[Value]:
    """Yields other values; for an input choice those that change one input."""
    if choice.kind != "input":
        yield from (option for option in choice.options if option != value)
        return
    inside = set(value if isinstance(value, tuple) else ())
    outside = [option for option in choice.options if option not in inside]
    if choice.n_chosen is None:
        changed = [inside ^ {option} for option in choice.options]
    else:
        changed = [(inside - {gone}) | {new} for gone in sorted(inside, key=str) for new in outside]
    for chosen in changed:
        yield tuple(option for option in choice.options if option in chosen)
