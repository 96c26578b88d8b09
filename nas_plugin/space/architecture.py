"""A point of a search space: plain JSON from keys to choices."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nas_plugin.space.choice import Value


class Architecture(Mapping[str, Value]):
    """An immutable, hashable mapping from keys to chosen values.

    `SearchSpace.architecture` makes one from any accepted spelling and checks it; keys that do not
    matter are left out, so that equal networks compare equal.

    A layer choice holds a name, an input choice a tuple of names (of indices where inputs have no
    names), a value choice a JSON scalar and a repeat its depth.
    """

    __slots__ = ("_choices", "_hash")

    def __init__(self, choices: Mapping[str, Value]) -> None:
        self._choices = dict(choices)
        self._hash: int | None = None

    def __getitem__(self, key: str) -> Value:
        return self._choices[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._choices.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Architecture):
            return self._choices == other._choices
        return NotImplemented

    def __repr__(self) -> str:
        return f"Architecture({self._choices!r})"

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, Value]]]:
        return Architecture, (self._choices,)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON, keys sorted; tuples become lists."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in sorted(self._choices.items())
        }

    def dumps(self) -> str:
        """Returns the JSON text of an architecture file (indent 2, keys sorted)."""
        return json.dumps(self.to_json(), indent=2, sort_keys=True) + "\n"
