"""What may vary in a model, without the model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

from nas_plugin.errors import ArchitectureError, SpaceError
from nas_plugin.files.shape import TEXT, check_json
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.counting import Counting, Decided

_FORMAT = "nas_plugin.space/1"
_COUNTER_KEY = re.compile(r"(LayerChoice|InputChoice)(\d+)")
_KIND_OF = {"LayerChoice": "layer", "InputChoice": "input"}


class SearchSpace(Mapping[str, Choice]):
    """All choices of a model, in the order of their construction.

    Args:
        choices: One a key.

    Raises:
        SpaceError: If there is no choice, a key occurs twice, or conditions name an unknown key
            or form a cycle.
    """

    def __init__(self, choices: Iterable[Choice]) -> None:
        self._choices: dict[str, Choice] = {}
        for choice in choices:
            if choice.key in self._choices:
                raise SpaceError(f"Two choices have the key '{choice.key}'; keys must differ.")
            self._choices[choice.key] = choice
        if not self._choices:
            raise SpaceError(
                "The search space is empty: the model has no choice block. Put a LayerChoice, "
                "InputChoice, Repeat or ValueChoice where it may vary, or use annotate()."
            )
        #: The choices, parents before the choices that depend on them.
        self.order = _parents_first(self._choices)
        self._conditional = any(choice.active_if for choice in self.order)
        self._counting = Counting(self.order)

    def __getitem__(self, key: str) -> Choice:
        if key not in self._choices:
            raise SpaceError(f"The search space has no key '{key}'.{self._near(key)}")
        return self._choices[key]

    def __contains__(self, key: object) -> bool:
        return key in self._choices

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SearchSpace):
            return self._choices == other._choices
        return NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._choices))

    def __getstate__(self) -> dict[str, Any]:
        # What was counted is counted again where it is needed.
        return {**self.__dict__, "_counting": Counting(self.order)}

    def __repr__(self) -> str:
        return f"SearchSpace({len(self)} choices, {self.size} architectures)"

    @property
    def size(self) -> int:
        """The number of different architectures."""
        return self._counting.count()

    def follows_edges(self, choice: Choice) -> bool:
        """Says whether an input choice chooses among layer choices, and so among edges."""
        return choice.kind == "input" and all(
            name in self._choices and self._choices[str(name)].kind == "layer"
            for name in choice.candidates
        )

    def architecture(self, spelled: Mapping[str, Any]) -> Architecture:
        """Checks `spelled` and returns it in canonical form, without the keys that do not matter.

        Raises:
            ArchitectureError: If a key is unknown or missing, or a value is not allowed.
        """
        if not isinstance(spelled, Mapping) or not all(isinstance(key, str) for key in spelled):
            raise ArchitectureError(
                f"An architecture maps keys, which are strings, to choices; got {spelled!r}."
            )
        spelled = self._from_counter_keys(spelled)
        for key in spelled:
            if key not in self._choices:
                raise ArchitectureError(
                    f"The architecture has the key '{key}', which the search space does not know."
                    f"{self._near(key)}"
                )
        chosen: dict[str, Value] = {}
        for choice in self.order:
            if not choice.is_active(chosen):
                _check_unused(choice, spelled.get(choice.key))
                continue
            if choice.key not in spelled:
                raise ArchitectureError(
                    f"The architecture lacks the key '{choice.key}'. "
                    f"Allowed: {list(choice.options)}."
                )
            chosen[choice.key] = choice.parse(spelled[choice.key])
        return Architecture(chosen)

    def complete(self, partial: Mapping[str, Value], rng: Random) -> Architecture:
        """Keeps what still matters of `partial` (canonical values) and draws the rest.

        Every architecture that agrees with `partial`, wherever its keys matter, is equally likely.
        """
        chosen: dict[str, Value] = {}
        for choice in self.order:
            if choice.is_active(chosen):
                known = partial.get(choice.key)
                if known is None and self._conditional:
                    return self._completed(partial, rng)
                chosen[choice.key] = choice.sample(rng) if known is None else known
        return Architecture(chosen)

    def _completed(self, partial: Mapping[str, Value], rng: Random) -> Architecture:
        decided: Decided = {}
        chosen: dict[str, Value] = {}
        for choice in self.order:
            if all(parent in decided for parent in choice.parents):
                if not choice.is_active(chosen):
                    decided[choice.key] = None
                elif choice.key in partial:
                    decided[choice.key] = chosen[choice.key] = partial[choice.key]
        counting = Counting(self.order, partial) if partial else self._counting
        chosen.update(counting.draw(decided, rng))
        return Architecture({c.key: chosen[c.key] for c in self.order if c.key in chosen})

    def sample(self, rng: Random) -> Architecture:
        """Draws an architecture; all are equally likely."""
        return self.complete({}, rng)

    def sample_per_choice(self, rng: Random) -> Architecture:
        """Draws each active choice uniformly, parents first.

        Where choices depend on others this favours architectures of few choices: of two depths,
        the one that leaves fewer choices comes up half the time.
        """
        chosen: dict[str, Value] = {}
        for choice in self.order:
            if choice.is_active(chosen):
                chosen[choice.key] = choice.sample(rng)
        return Architecture(chosen)

    def first(self) -> Architecture:
        """Returns the architecture of all first candidates."""
        chosen: dict[str, Value] = {}
        for choice in self.order:
            if choice.is_active(chosen):
                value = next(choice.values())
                if value == () and choice.options:
                    value = (choice.options[0],)
                chosen[choice.key] = value
        return Architecture(chosen)

    def enumerate(self) -> Iterator[Architecture]:
        """Yields every architecture once."""

        def extend(position: int, chosen: dict[str, Value]) -> Iterator[Architecture]:
            if position == len(self.order):
                yield Architecture(chosen)
                return
            choice = self.order[position]
            if not choice.is_active(chosen):
                yield from extend(position + 1, chosen)
                return
            for value in choice.values():
                yield from extend(position + 1, {**chosen, choice.key: value})

        yield from extend(0, {})

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON from which `from_json` makes an equal space."""
        return {"format": _FORMAT, "choices": [c.to_json() for c in self._choices.values()]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        """Reads what `to_json` wrote.

        Raises:
            SpaceError: If it is something else.
        """
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise SpaceError(f"Not a search space: expected an object with 'format': '{_FORMAT}'.")
        check_json(data, {"format": TEXT, "choices": [dict]}, "Not a search space", SpaceError)
        return cls(Choice.from_json(choice) for choice in data["choices"])

    def _from_counter_keys(self, spelled: Mapping[str, Any]) -> Mapping[str, Any]:
        """Maps NNI's ``LayerChoice1``, ``InputChoice2``, … to keys by construction order."""
        matches = [_COUNTER_KEY.fullmatch(key) for key in spelled]
        if not matches or not all(matches) or all(key in self._choices for key in spelled):
            return spelled
        numbered = sorted((int(m[2]), m[1], m[0]) for m in matches if m)
        blocks = [c for c in self._choices.values() if c.kind in _KIND_OF.values()]
        kinds = [_KIND_OF[name] for _, name, _ in numbered]
        if kinds != [c.kind for c in blocks]:
            raise ArchitectureError(
                "The architecture's keys are NNI's counters, which are matched in order of "
                f"construction, but it holds {len(numbered)} blocks ({kinds.count('layer')} "
                f"LayerChoice) and the search space {len(blocks)} "
                f"({sum(c.kind == 'layer' for c in blocks)} LayerChoice) or their order differs. "
                "Check that the model is the one that the file was made for."
            )
        return {c.key: spelled[key] for c, (_, _, key) in zip(blocks, numbered, strict=True)}

    def _near(self, key: str) -> str:
        near = difflib.get_close_matches(str(key), self._choices, n=1)
        if near:
            return f" Did you mean '{near[0]}'?"
        some = ", ".join(list(self._choices)[:8]) + (", …" if len(self) > 8 else "")
        return f" It knows {some}."


def _parents_first(choices: Mapping[str, Choice]) -> tuple[Choice, ...]:
    placed: dict[str, Choice] = {}
    waiting = list(choices.values())
    for choice in waiting:
        for parent in choice.parents:
            if parent not in choices:
                raise SpaceError(
                    f"Choice '{choice.key}' depends on '{parent}', which is not a key of the space."
                )
    while waiting:
        ready = [c for c in waiting if all(p in placed for p in c.parents)]
        if not ready:
            cycle = ", ".join(sorted(c.key for c in waiting))
            raise SpaceError(f"The conditions of these choices form a cycle: {cycle}.")
        placed.update((c.key, c) for c in ready)
        waiting = [c for c in waiting if c.key not in placed]
    return tuple(placed.values())


def _check_unused(choice: Choice, spelling: Any) -> None:
    """Checks the value at a key that does not matter: nothing, a candidate, or a lawful choice."""
    nothing = spelling is None or (isinstance(spelling, (list, tuple)) and not any(spelling))
    if not nothing and not (isinstance(spelling, str) and spelling in choice.candidates):
        choice.parse(spelling)
