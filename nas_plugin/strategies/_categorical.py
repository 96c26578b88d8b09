"""A search space as categorical variables: every value of a choice is one category."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas_plugin.errors import StrategyError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Value
from nas_plugin.space.search_space import SearchSpace

#: A choice of more values (subsets of many inputs) is no sensible categorical variable.
MOST_VALUES = 1024


class Categories:
    """Numbers the choices (rows) and their values (columns).

    Args:
        space: The search space.

    Raises:
        StrategyError: If a choice has too many values.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.values: list[tuple[Value, ...]] = []
        self._column: list[dict[Value, int]] = []
        self._row: dict[str, int] = {}
        for row, choice in enumerate(space.order):
            if choice.count() > MOST_VALUES:
                raise StrategyError(
                    f"Choice '{choice.key}' has {choice.count():,} values; this strategy counts "
                    f"each as a category and takes at most {MOST_VALUES:,}. Use 'random', "
                    "'regularized_evolution' or 'local_search', or choose among fewer inputs."
                )
            values = tuple(choice.values())
            self.values.append(values)
            self._column.append({value: column for column, value in enumerate(values)})
            self._row[choice.key] = row

    def cells(self, architecture: Mapping[str, Value]) -> list[tuple[int, int]]:
        """Returns the (row, column) of every choice that the architecture makes."""
        return [
            (row, self._column[row][value])
            for key, value in architecture.items()
            for row in (self._row[key],)
        ]

    def build(self, pick: Callable[[int], int]) -> Architecture:
        """Makes an architecture; `pick` returns a column for each row that is active."""
        chosen: dict[str, Value] = {}
        for row, choice in enumerate(self.space.order):
            if choice.is_active(chosen):
                chosen[choice.key] = self.values[row][pick(row)]
        return Architecture(chosen)
