"""Plain values that must be known when a model is built: kernel sizes, widths, probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from nas_plugin.errors import ArchitectureError, ChoiceError

S = TypeVar("S", str, int, float, bool)


class ValueRecorder:
    """Answers each ValueChoice of one construction, and remembers what was asked.

    Args:
        chosen: Key → value; None answers with the first value of each.
    """

    def __init__(self, chosen: Mapping[str, Any] | None = None) -> None:
        self.chosen = chosen
        self.asked: dict[str, tuple[Any, ...]] = {}
        self.answered: dict[str, Any] = {}

    def answer(self, key: str, values: tuple[S, ...]) -> S:
        """Returns the value of `key`, one of `values`."""
        self.answered[key] = value = self._choose(key, values)
        return value

    def _choose(self, key: str, values: tuple[S, ...]) -> S:
        known = self.asked.setdefault(key, values)
        if known != values:
            raise ChoiceError(
                f"Two ValueChoices share the key '{key}' but not the values: "
                f"{list(known)} and {list(values)}. Give one of them another key."
            )
        if self.chosen is None:
            return values[0]
        if key not in self.chosen:
            raise ArchitectureError(
                f"The architecture lacks the key '{key}'. Allowed: {list(values)}."
            )
        wanted = self.chosen[key]
        if isinstance(wanted, Mapping) and "_value" in wanted:  # as NNI spells a choice
            wanted = wanted["_value"]
        for value in values:
            if type(value) is type(wanted) and value == wanted:
                return value
        raise ArchitectureError(f"Choice '{key}' cannot be {wanted!r}. Allowed: {list(values)}.")


_recorder: ContextVar[ValueRecorder | None] = ContextVar("value_recorder", default=None)


@contextmanager
def recording(recorder: ValueRecorder) -> Iterator[ValueRecorder]:
    """Lets `recorder` answer every ValueChoice made inside the block."""
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


# Named like the blocks beside which it stands in a model, though it gives a plain value.
def ValueChoice(values: Sequence[S], *, key: str) -> S:  # noqa: N802
    """Returns one of `values`; which one, `build(factory, architecture)` decides.

    The space is learned from one construction with all first values: a factory must reach every
    ValueChoice whatever the others give.

    Args:
        values: Strings or numbers, all different.
        key: Its identity; equal keys share one decision.

    Raises:
        ChoiceError: If it is reached outside `build`, or the values are unusable.
    """
    if not isinstance(key, str) or not key:
        raise ChoiceError(f"A key is a string that is not empty, got {key!r}.")
    if not isinstance(values, (list, tuple, range)) or not all(map(_is_plain, values)):
        raise ChoiceError(
            f"ValueChoice '{key}' takes a list of strings, finite numbers and booleans, "
            f"got {values!r}."
        )
    found: tuple[S, ...] = tuple(values)
    if not found or len({(type(value), value) for value in found}) != len(found):
        raise ChoiceError(f"ValueChoice '{key}' needs values that differ, got {list(found)}.")
    recorder = _recorder.get()
    if recorder is None:
        raise ChoiceError(
            f"ValueChoice '{key}' was reached outside build(). A value must be known when the "
            "model is made: pass the factory, as in build(Net) or "
            "get_and_apply_next_architecture(Net)."
        )
    return recorder.answer(key, found)


def _is_plain(value: object) -> bool:
    """Says whether JSON can hold a value and give back its equal."""
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
