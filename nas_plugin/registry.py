"""Names for classes: what a configuration file or flag says, and what it means."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from nas_plugin.errors import OptionError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to a class or function of one kind.

    Members register when their module is imported; `package` is imported on the first lookup,
    so that asking for a name loads what can have it and nothing earlier does.

    Args:
        kind: What the members are, as errors call them (``mutator``).
        package: The package whose import registers all members.
        group: An entry-point group through which other distributions add members.
    """

    def __init__(self, kind: str, package: str | None = None, group: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._group = group
        self._members: dict[str, T] = {}

    def add(self, name: str, member: T) -> T:
        """Registers `member`.

        Raises:
            OptionError: If another member has the name.
        """
        known = self._members.get(name)
        if known is not None and known is not member and not _is_reimport(known, member):
            raise OptionError(
                f"The {self.kind} name '{name}' is taken by {known!r}. "
                f"Give {member!r} another name."
            )
        self._members[name] = member
        return member

    def register(self, name: str) -> Callable[[T], T]:
        """Decorates a class or function with its name."""
        return lambda member: self.add(name, member)

    def get(self, name: str) -> T:
        """Returns the member called `name`.

        Raises:
            UnknownNameError: If there is none; the message lists the known names and the nearest.
        """
        self._load()
        if name in self._members:
            return self._members[name]
        if self._group:
            for entry in entry_points(group=self._group, name=name):
                return self.add(name, entry.load())
        near = difflib.get_close_matches(str(name), self.names(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        known = ", ".join(self.names()) or "none"
        raise UnknownNameError(f"Unknown {self.kind} '{name}'.{hint} Known: {known}.")

    def names(self) -> list[str]:
        """Returns all names in alphabetical order."""
        self._load()
        names = set(self._members)
        if self._group:
            names.update(entry.name for entry in entry_points(group=self._group))
        return sorted(names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def _load(self) -> None:
        if self._package:
            importlib.import_module(self._package)


def _is_reimport(known: object, member: object) -> bool:
    return getattr(known, "__module__", None) == getattr(member, "__module__", 0) and getattr(
        known, "__qualname__", None
    ) == getattr(member, "__qualname__", 0)
