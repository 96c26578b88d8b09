"""A table of one's own: a column a choice, a column a metric."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nas_plugin.benchmarks.benchmark import benchmarks
from nas_plugin.benchmarks.table import Table
from nas_plugin.benchmarks.tabular import TabularBenchmark
from nas_plugin.errors import ArchitectureError, BenchmarkError, FileError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace


@benchmarks.register("user")
class UserTable(TabularBenchmark):
    """Whatever architectures a file listed, not necessarily all of their space."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.space = SearchSpace.from_json(table.header["extra"].get("space"))
        self._codes = table.array("choices")
        if self._codes.shape != (table.rows, len(self.space)):
            raise FileError(f"{table.path}: 'choices' has another shape than the space.")

    def index(self, architecture: Any) -> int:
        """Returns the row of an architecture, mapping or row."""
        if isinstance(architecture, (int, np.integer)):
            return self._row(architecture)
        if isinstance(architecture, Architecture) and architecture in self._rows:
            return self._rows[architecture]
        if not isinstance(architecture, Mapping):
            raise ArchitectureError(
                f"Not an architecture: {architecture!r}. Give an Architecture, a mapping from "
                f"{list(self.space)} or a row."
            )
        checked = self.space.architecture(architecture)
        if checked not in self._rows:
            raise BenchmarkError(f"{self.name} has no row for {dict(checked)}.")
        return self._rows[checked]

    def architecture(self, index: int) -> Architecture:
        codes = self._codes[self._row(index)]
        return Architecture(
            {c.key: c.candidates[code] for c, code in zip(self.space.values(), codes, strict=True)}
        )

    @cached_property
    def _rows(self) -> dict[Architecture, int]:
        return {self.architecture(row): row for row in range(len(self))}
