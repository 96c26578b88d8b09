"""Grid search: every architecture once, in the order of the space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.proposal import Exhausted, InfeasibleError
from nas_plugin.strategies.strategy import Strategy

#: So many architectures in a row that the constraint refuses end the search of a huge space.
_MOST_REFUSED = 1_000_000


class GridSearch(Strategy, name="grid"):
    """Goes through the space in its own order, the last choice fastest; nothing is random.

    With ``repeats=True`` it begins again at the end.
    """

    def __init__(self, space: SearchSpace, **options: Any) -> None:
        super().__init__(space, **options)
        self._position = 0
        self._rest: Iterator[Architecture] = space.enumerate()

    def suggest(self) -> Architecture:
        began_anew, refused = False, 0
        while True:
            for architecture in self._rest:
                self._position += 1
                if not self.allows(architecture):
                    refused += 1
                    if refused == _MOST_REFUSED:
                        raise InfeasibleError(
                            f"The constraint refuses {refused:,} architectures of the grid in a "
                            "row. Loosen it, or use a strategy that draws at random."
                        )
                elif not self.is_barred(architecture):
                    return architecture
            if not self.trials:
                raise InfeasibleError("The constraint allows no architecture of the space.")
            if began_anew or not self.repeats:
                raise Exhausted(
                    f"The grid is complete: {self._position:,} architectures. "
                    "Stop here, or allow repeats=True."
                )
            self._seek(0)
            began_anew = True

    def state(self) -> dict[str, Any]:
        return {"position": self._position}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._seek(int(state["position"]))

    def _seek(self, position: int) -> None:
        self._position = position
        self._rest = islice(self.space.enumerate(), position, None)
