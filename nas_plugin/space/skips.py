"""Which candidates are skip connections, and how many of them an architecture holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.search_space import SearchSpace

#: What spaces call a skip connection.
SKIPS = ("skipconnect", "skip_connect", "skip", "identity")
#: The beginning of the keys of normal cells.
NORMAL = "normal"


def counted_keys(space: SearchSpace, prefix: str | None = None) -> list[str]:
    """Returns the layer choices that are counted.

    Args:
        space: The search space.
        prefix: The beginning of their keys; None: those of normal cells, or all in a space that
            has no such cells.

    Raises:
        OptionError: If no layer choice has such a key.
    """
    layers = [key for key, choice in space.items() if choice.kind == "layer"]
    found = [key for key in layers if key.startswith(NORMAL if prefix is None else prefix)]
    if prefix is None and not found:
        found = layers
    if not found:
        raise OptionError(
            f"No layer choice has a key that begins with {prefix!r}; the keys are "
            f"{', '.join(layers[:6])}{' …' if len(layers) > 6 else ''}."
        )
    return found


def skip_names(space: SearchSpace, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Returns the names of candidates that count as skip connections.

    Args:
        space: The search space.
        names: Those that count; None: the usual names.

    Raises:
        OptionError: If no candidate has one of them.
    """
    wanted = tuple(SKIPS if names is None else names)
    known = {str(c) for choice in space.values() for c in choice.candidates}
    found = tuple(name for name in wanted if name in known)
    if not found:
        raise OptionError(
            f"No candidate is called {' or '.join(wanted)}, so no skip connection can be counted. "
            f"Name those that count; there are {', '.join(sorted(known)[:12])}."
        )
    return found


def skips_in(
    architecture: Mapping[str, Any], keys: Sequence[str], names: Sequence[str]
) -> list[str]:
    """Returns the keys, of those counted, at which an architecture holds a skip connection."""
    return [key for key in keys if architecture.get(key) in names]
