"""One choice of a search space: its key, its candidates and when it matters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, cast

from nas_plugin.errors import ArchitectureError, SpaceError
from nas_plugin.files.shape import TEXT, Is, Optional, check_json

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...]
ChoiceKind = Literal["layer", "input", "value", "repeat"]
Condition = tuple[str, tuple[Scalar, ...]]

KINDS: tuple[ChoiceKind, ...] = ("layer", "input", "value", "repeat")

_SCALAR = Is("text, a number, true or false", lambda v: isinstance(v, (str, int, float)))
#: A choice as JSON.
_SHAPE = {
    "key": TEXT,
    "kind": TEXT,
    "candidates": [_SCALAR],
    Optional("n_chosen"): Is("a whole number or null", lambda v: v is None or type(v) is int),
    Optional("excluded"): [_SCALAR],
    Optional("active_if"): [[{"key": TEXT, "values": [_SCALAR]}]],
}


@dataclass(frozen=True)
class Choice:
    """What one key may be.

    Args:
        key: The identity of the choice; blocks with equal keys share it.
        kind: ``layer`` (one candidate), ``input`` (`n_chosen` of the inputs), ``value`` (a JSON
            scalar) or ``repeat`` (a depth).
        candidates: Names, values or depths, in the order of the block.
        n_chosen: How many inputs are chosen; None is any number, none included.
        excluded: Candidates that a search may mix but no architecture may hold.
        active_if: Alternatives, each a conjunction of conditions ``(key, values)``; the choice
            matters where all conditions of one alternative hold. Empty: always.

    Raises:
        SpaceError: If nothing is left to choose or the numbers contradict each other.
    """

    key: str
    kind: ChoiceKind
    candidates: tuple[Scalar, ...]
    n_chosen: int | None = 1
    excluded: tuple[Scalar, ...] = ()
    active_if: tuple[tuple[Condition, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpaceError(
                f"Choice '{self.key}': kind '{self.kind}' is not one of {', '.join(KINDS)}."
            )
        typed = [(type(c), c) for c in self.candidates]
        if len(set(typed)) != len(typed):
            raise SpaceError(f"Choice '{self.key}' has equal candidates: {list(self.candidates)}.")
        if not self.options:
            raise SpaceError(f"Choice '{self.key}' has no candidate that may be chosen.")
        if self.n_chosen is not None and not 1 <= self.n_chosen <= len(self.options):
            raise SpaceError(
                f"Choice '{self.key}': n_chosen must be in [1, {len(self.options)}], "
                f"the number of its candidates, got {self.n_chosen}."
            )

    @property
    def options(self) -> tuple[Scalar, ...]:
        """The candidates that an architecture may hold."""
        return tuple(c for c in self.candidates if c not in self.excluded)

    @property
    def parents(self) -> frozenset[str]:
        """The keys that decide whether this choice matters."""
        return frozenset(key for alternative in self.active_if for key, _ in alternative)

    def is_active(self, chosen: Mapping[str, Value]) -> bool:
        """Says whether the choice matters beside `chosen`, which holds the active parents."""
        if not self.active_if:
            return True
        return any(
            all(holds(chosen.get(key), values) for key, values in alternative)
            for alternative in self.active_if
        )

    def count(self) -> int:
        """Returns the number of values."""
        n = len(self.options)
        if self.kind != "input":
            return n
        return 2**n if self.n_chosen is None else math.comb(n, self.n_chosen)

    def values(self) -> Iterator[Value]:
        """Yields every value, in the order of the candidates."""
        if self.kind != "input":
            yield from self.options
            return
        n = len(self.options)
        for size in range(n + 1) if self.n_chosen is None else (self.n_chosen,):
            yield from itertools.combinations(self.options, size)

    def sample(self, rng: Random) -> Value:
        """Draws a value; each is equally likely."""
        options = self.options
        if self.kind != "input":
            return options[rng.randrange(len(options))]
        if self.n_chosen is None:
            return tuple(option for option in options if rng.random() < 0.5)
        drawn = sorted(rng.sample(range(len(options)), self.n_chosen))
        return tuple(options[i] for i in drawn)

    def parse(self, spelling: Any) -> Value:
        """Returns the value that `spelling` means.

        A name, an index, a list of either, a list of booleans with one entry a candidate, and
        NNI's ``{"_value": …, "_idx": …}`` are understood.

        Raises:
            ArchitectureError: If it means nothing here.
        """
        plain = self.kind in ("value", "repeat")
        if isinstance(spelling, Mapping) and "_value" in spelling:
            spelling = spelling["_value"] if plain else spelling.get("_idx", spelling["_value"])
        if plain:
            for option in self.options:
                if type(option) is type(spelling) and option == spelling:
                    return option
            raise self._refused(spelling)
        many = isinstance(spelling, (list, tuple))
        entries = list(spelling) if many else [spelling]
        if many and entries and all(isinstance(entry, bool) for entry in entries):
            if len(entries) != len(self.candidates):
                raise ArchitectureError(
                    f"Choice '{self.key}' has {len(self.candidates)} candidates, but the list of "
                    f"booleans has {len(entries)} entries. Give one per candidate, in the order "
                    f"{list(self.candidates)}."
                )
            entries = [i for i, chosen in enumerate(entries) if chosen]
        indices = sorted(self._index(entry) for entry in entries)
        if len(set(indices)) != len(indices):
            raise ArchitectureError(f"Choice '{self.key}' names a candidate twice: {spelling!r}.")
        wanted = 1 if self.kind == "layer" else self.n_chosen
        if wanted is not None and len(indices) != wanted:
            raise ArchitectureError(
                f"Choice '{self.key}' takes {wanted} of {list(self.options)}, "
                f"got {len(indices)}: {spelling!r}."
            )
        value = tuple(self.candidates[i] for i in indices)
        if any(v in self.excluded for v in value):
            raise self._refused(spelling)
        return value[0] if self.kind == "layer" else value

    def _index(self, entry: Any) -> int:
        """Returns the position of a candidate given by name or by index."""
        if isinstance(entry, str) and entry in self.candidates:
            return self.candidates.index(entry)
        if (
            isinstance(entry, int)
            and not isinstance(entry, bool)
            and 0 <= entry < len(self.candidates)
        ):
            return entry
        raise self._refused(entry)

    def _refused(self, found: Any) -> ArchitectureError:
        return ArchitectureError(
            f"Choice '{self.key}' cannot be {found!r}. Allowed: {list(self.options)}."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON from which `from_json` makes an equal choice."""
        return {
            "key": self.key,
            "kind": self.kind,
            "candidates": list(self.candidates),
            "n_chosen": self.n_chosen,
            "excluded": list(self.excluded),
            "active_if": [
                [{"key": key, "values": list(values)} for key, values in alternative]
                for alternative in self.active_if
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Choice:
        """Reads what `to_json` wrote.

        Raises:
            SpaceError: If an entry is missing or has another type.
        """
        name = "Not a choice of a search space"
        if isinstance(data, Mapping) and isinstance(data.get("key"), str):
            name = f"{name}: '{data['key']}'"
        check_json(data, _SHAPE, name, SpaceError)
        return cls(
            key=data["key"],
            kind=cast(ChoiceKind, data["kind"]),
            candidates=tuple(data["candidates"]),
            n_chosen=data.get("n_chosen", 1),
            excluded=tuple(data.get("excluded", ())),
            active_if=tuple(
                tuple((condition["key"], tuple(condition["values"])) for condition in alternative)
                for alternative in data.get("active_if", ())
            ),
        )


def holds(value: Value | None, wanted: tuple[Scalar, ...]) -> bool:
    """Says whether a value is, or contains, one of those wanted; None is an inactive choice."""
    if value is None:
        return False
    if isinstance(value, tuple):
        return any(entry in wanted for entry in value)
    return value in wanted
