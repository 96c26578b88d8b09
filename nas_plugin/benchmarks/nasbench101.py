"""NAS-Bench-101: 423,624 graphs, trained three times for 4, 12, 36 and 108 epochs on CIFAR-10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_plugin.benchmarks.benchmark import benchmarks
from nas_plugin.benchmarks.table import Array, Table
from nas_plugin.benchmarks.tabular import TabularBenchmark
from nas_plugin.errors import ArchitectureError, BenchmarkError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.encodings import nasbench101
from nas_plugin.space.encodings.nasbench101 import INPUT, MAX_VERTICES, OPS, OUTPUT, Graph

_PAIRS = tuple((u, v) for u in range(MAX_VERTICES) for v in range(u + 1, MAX_VERTICES))


@benchmarks.register("nasbench101")
class NasBench101(TabularBenchmark):
    """Rows are sorted by the published hash, which finds isomorphic graphs.

    Seeds are the repeats 0, 1 and 2. ``halfway_accuracy`` is that after half of the epochs.

    References:
        Ying et al. 2019, https://arxiv.org/abs/1902.09635
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.space = nasbench101.space()
        self._high, self._low = table.array("hash_high"), table.array("hash_low")
        self._graphs = table.array("graphs")

    def index(self, architecture: Any) -> int:
        """Returns the row of an architecture, mapping, `Graph`, published hash or row."""
        if isinstance(architecture, (int, np.integer)):
            return self._row(architecture)
        if isinstance(architecture, str):
            return self._of_hash(architecture)
        if isinstance(architecture, Mapping):
            architecture = nasbench101.to_graph(architecture)
        if not isinstance(architecture, Graph):
            raise ArchitectureError(
                f"Not a NAS-Bench-101 architecture: {architecture!r}. Give an Architecture, a "
                "mapping, a Graph, a hash or a row."
            )
        return self._of_hash(architecture.hash())

    def architecture(self, index: int) -> Architecture:
        return nasbench101.from_graph(self.graph(index))

    def graph(self, index: int) -> Graph:
        """Returns the graph of a row as it was published."""
        return unpack_graph(self._graphs[self._row(index)])

    def is_legal(self, architecture: Any) -> bool:
        if isinstance(architecture, Mapping):
            try:
                architecture = nasbench101.to_graph(architecture)
            except ArchitectureError:
                return False
        if isinstance(architecture, Graph) and not architecture.is_legal():
            return False
        return super().is_legal(architecture)

    def _of_hash(self, text: str) -> int:
        high, low = split_hash(text)
        row = int(np.searchsorted(self._high, np.uint64(high)))
        while row < len(self) and int(self._high[row]) == high:
            if int(self._low[row]) == low:
                return row
            row += 1
        raise BenchmarkError(
            f"{self.name} has no graph of hash {text}. It holds connected graphs of at most 7 "
            "vertices and 9 edges."
        )


def split_hash(text: str) -> tuple[int, int]:
    """Returns the two halves of an MD5 in hexadecimal.

    Raises:
        ArchitectureError: If it is none.
    """
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise ArchitectureError(f"Not a NAS-Bench-101 hash: '{text[:80]}' (32 hexadecimal digits).")
    return int(text[:16], 16), int(text[16:], 16)


def pack_graph(graph: Graph) -> list[int]:
    """Packs a graph of at most seven vertices into two numbers: edges, and vertices with ops."""
    edges = sum(
        1 << bit for bit, (u, v) in enumerate(_PAIRS) if v < len(graph.ops) and graph.matrix[u][v]
    )
    labels = len(graph.ops)
    for op in graph.ops[1:-1]:
        labels = labels * 4 + OPS.index(op)
    return [edges, labels]


def unpack_graph(packed: Array) -> Graph:
    """Undoes `pack_graph`."""
    edges, labels = (int(number) for number in packed)
    ops: list[str] = []
    while labels > MAX_VERTICES:  # a count of at least 2 with one more digit is at least 8
        ops.insert(0, OPS[labels % 4])
        labels //= 4
    rows = [[0] * labels for _ in range(labels)]
    for bit, (u, v) in enumerate(_PAIRS):
        if edges >> bit & 1:
            rows[u][v] = 1
    return Graph(tuple(map(tuple, rows)), (INPUT, *ops, OUTPUT))
