"""A part of a model that gives the blocks inside it their keys."""

from __future__ import annotations

from nas_plugin.choice.block import Mutable
from nas_plugin.errors import ChoiceError


class MutableScope(Mutable):
    """A module whose key starts the keys of the blocks inside it.

    Two scopes of one key share the decisions of the blocks at the same place inside them: this is
    how all normal cells of a network become one choice. Inherit from it and write `forward`.

    Args:
        key: The start of the keys inside, as in ``key/edges/0``.

    Raises:
        ChoiceError: If no key is given.
    """

    def __init__(self, key: str) -> None:
        if key is None:
            raise ChoiceError("A MutableScope needs a key: it is what its blocks' keys start with.")
        super().__init__(key)
