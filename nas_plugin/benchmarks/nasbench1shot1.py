"""NAS-Bench-1Shot1: the cells of its three spaces that NAS-Bench-101 holds, on CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nas_plugin.benchmarks.benchmark import benchmarks
from nas_plugin.benchmarks.nasbench101 import unpack_graph
from nas_plugin.benchmarks.table import Table
from nas_plugin.benchmarks.tabular import TabularBenchmark
from nas_plugin.errors import ArchitectureError, BenchmarkError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.encodings.nasbench1shot1 import OneShotSpace
from nas_plugin.space.encodings.nasbench101 import Graph


@benchmarks.register("nasbench1shot1")
class NasBench1Shot1(TabularBenchmark):
    """Rows are the architectures without loose ends; isomorphic cells answer for one another.

    The space holds more cells than the table: `is_legal` tells which have a row.

    References:
        Zela, Siems & Hutter 2020, https://arxiv.org/abs/2001.10422
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.one_shot = OneShotSpace(table.header["extra"].get("space"))
        self.space = self.one_shot.space()
        self._graphs = table.array("graphs")

    def index(self, architecture: Any) -> int:
        """Returns the row of an architecture, mapping, `Graph` or row."""
        if isinstance(architecture, (int, np.integer)):
            return self._row(architecture)
        if isinstance(architecture, Architecture):
            row = self._spelled.get(architecture)
            if row is not None:
                return row
        if isinstance(architecture, Mapping):
            graph = self.one_shot.to_graph(self.space.architecture(architecture))
        elif isinstance(architecture, Graph):
            graph = architecture
        else:
            raise ArchitectureError(
                f"Not a NAS-Bench-1Shot1 architecture: {architecture!r}. Give an Architecture, a "
                "mapping, a Graph or a row."
            )
        row = self._hashed.get(graph.hash())
        if row is None:
            raise BenchmarkError(
                f"{self.name} has no row for this cell: the table holds the {len(self):,} "
                "architectures without loose ends that the authors enumerated. Use is_legal() "
                "to skip others."
            )
        return row

    def architecture(self, index: int) -> Architecture:
        return self.one_shot.from_graph(unpack_graph(self._graphs[self._row(index)]))

    @cached_property
    def _spelled(self) -> dict[Architecture, int]:
        return {self.architecture(row): row for row in range(len(self))}

    @cached_property
    def _hashed(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for row, packed in enumerate(self._graphs):
            rows.setdefault(unpack_graph(packed).hash(), row)
        return rows
