"""NAS-Bench-101: directed graphs of up to seven vertices and nine edges, and their hash.

References:
    Ying et al. 2019, https://arxiv.org/abs/1902.09635
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas_plugin.errors import ArchitectureError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Condition, Value
from nas_plugin.space.search_space import SearchSpace

#: Operations of inner vertices, in the order that the published hash counts them.
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT, OUTPUT = "input", "output"
MAX_VERTICES, MAX_EDGES = 7, 9

#: Names that `parents` choices hold, by vertex; the last vertex is the output.
VERTICES = (INPUT, *(f"node_{i}" for i in range(1, MAX_VERTICES - 1)), OUTPUT)


@dataclass(frozen=True)
class Graph:
    """A cell as published: an upper-triangular matrix and one label a vertex.

    Args:
        matrix: Row i lists the vertices that vertex i leads to, as 0 and 1.
        ops: The labels; the first is ``input``, the last ``output``.

    Raises:
        ArchitectureError: If the matrix is not square, not upper-triangular, or a label is wrong.
    """

    matrix: tuple[tuple[int, ...], ...]
    ops: tuple[str, ...]

    def __post_init__(self) -> None:
        # NumPy integers print differently from Python's, which would change the hash.
        rows = tuple(tuple(int(entry) for entry in row) for row in self.matrix)
        object.__setattr__(self, "matrix", rows)
        object.__setattr__(self, "ops", tuple(str(op) for op in self.ops))
        size = len(rows)
        if size < 2 or any(len(row) != size for row in rows) or len(self.ops) != size:
            raise ArchitectureError(
                f"A graph needs a square matrix and one label a vertex, got {size} rows of "
                f"{sorted({len(row) for row in rows})} entries and {len(self.ops)} labels."
            )
        for i, row in enumerate(rows):
            if any(entry not in (0, 1) for entry in row) or any(row[: i + 1]):
                raise ArchitectureError(
                    f"Row {i} of the matrix is {list(row)}; only 0 and 1 above the diagonal "
                    "are allowed, as edges lead from lower to higher vertices."
                )
        inner = self.ops[1:-1]
        if self.ops[0] != INPUT or self.ops[-1] != OUTPUT or any(op not in OPS for op in inner):
            raise ArchitectureError(
                f"The labels are {list(self.ops)}; allowed are '{INPUT}' first, '{OUTPUT}' last "
                f"and {', '.join(OPS)} between."
            )

    @property
    def edges(self) -> int:
        """The number of edges."""
        return sum(map(sum, self.matrix))

    def prune(self) -> Graph | None:
        """Drops vertices on no path from input to output; None if there is no such path."""
        size = len(self.ops)
        forward, backward = {0}, {size - 1}
        for v in range(1, size):
            if any(self.matrix[u][v] for u in forward if u < v):
                forward.add(v)
        for v in range(size - 2, -1, -1):
            if any(self.matrix[v][w] for w in backward if w > v):
                backward.add(v)
        kept = sorted(forward & backward)
        if len(kept) < 2:
            return None
        rows = tuple(tuple(self.matrix[u][v] for v in kept) for u in kept)
        return Graph(rows, tuple(self.ops[v] for v in kept))

    def is_legal(self) -> bool:
        """Says whether the benchmark holds the graph: connected and, pruned, within its limits."""
        pruned = self.prune()
        return pruned is not None and len(pruned.ops) <= MAX_VERTICES and pruned.edges <= MAX_EDGES

    def hash(self) -> str:
        """Returns the published hash, equal for isomorphic graphs.

        Raises:
            ArchitectureError: If no path leads from input to output.
        """
        pruned = self.prune()
        if pruned is None:
            raise ArchitectureError("The graph has no path from input to output, so no hash.")
        return _hash(pruned)


def _hash(graph: Graph) -> str:
    size = range(len(graph.ops))
    into = [[u for u in size if graph.matrix[u][v]] for v in size]
    outof = [[w for w in size if graph.matrix[v][w]] for v in size]
    labels = [-1, *(OPS.index(op) for op in graph.ops[1:-1]), -2]
    hashes = [_md5(str((len(outof[v]), len(into[v]), labels[v]))) for v in size]
    for _ in size:
        hashes = [
            _md5(
                "".join(sorted(hashes[u] for u in into[v]))
                + "|"
                + "".join(sorted(hashes[w] for w in outof[v]))
                + "|"
                + hashes[v]
            )
            for v in size
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def space() -> SearchSpace:
    """Returns all graphs of seven vertices: the parents of each vertex, and its operation.

    A vertex that leads nowhere has no keys. Graphs without a path to the input or with more than
    nine edges are in the space too; `Graph.is_legal` tells them apart.
    """
    choices = []
    for v in range(1, MAX_VERTICES):
        # Only direct children are named: a child that leads nowhere holds no parents either.
        used: tuple[tuple[Condition, ...], ...] = tuple(
            ((f"parents_{VERTICES[w]}", (VERTICES[v],)),) for w in range(v + 1, MAX_VERTICES)
        )
        parents = f"parents_{VERTICES[v]}"
        choices.append(Choice(parents, "input", VERTICES[:v], n_chosen=None, active_if=used))
        if VERTICES[v] != OUTPUT:
            choices.append(Choice(f"op_{VERTICES[v]}", "layer", OPS, active_if=used))
    return SearchSpace(choices)


def from_graph(graph: Graph) -> Architecture:
    """Returns the architecture of a graph of at most seven vertices.

    Raises:
        ArchitectureError: If it is larger or has no path from input to output.
    """
    pruned = graph.prune()
    if pruned is None or len(pruned.ops) > MAX_VERTICES:
        raise ArchitectureError(
            f"A NAS-Bench-101 graph has a path from input to output and at most {MAX_VERTICES} "
            f"vertices; this one has {len(graph.ops)} and ops {list(graph.ops)}."
        )
    names = (*VERTICES[: len(pruned.ops) - 1], OUTPUT)
    chosen: dict[str, Value] = {}
    for v in range(1, len(names)):
        parents = tuple(names[u] for u in range(v) if pruned.matrix[u][v])
        chosen[f"parents_{names[v]}"] = parents
        if names[v] != OUTPUT:
            chosen[f"op_{names[v]}"] = pruned.ops[v]
    return Architecture(chosen)


def to_graph(architecture: Mapping[str, Value]) -> Graph:
    """Returns the graph of seven vertices that an architecture of `space` means.

    Raises:
        ArchitectureError: If it belongs to another space.
    """
    return graph_of_parents(architecture, VERTICES)


def graph_of_parents(architecture: Mapping[str, Value], names: Sequence[str]) -> Graph:
    """Builds the graph whose vertices are `names` from ``parents_*`` and ``op_*`` keys."""
    if f"parents_{OUTPUT}" not in architecture:
        raise ArchitectureError(
            f"The architecture lacks the key 'parents_{OUTPUT}'; found {sorted(architecture)}. "
            "It belongs to another search space."
        )
    position = {name: i for i, name in enumerate(names)}
    rows = [[0] * len(names) for _ in names]
    for v, name in enumerate(names):
        parents = architecture.get(f"parents_{name}", ())
        for parent in parents if isinstance(parents, tuple) else (parents,):
            if position.get(str(parent), v) >= v:
                raise ArchitectureError(
                    f"'parents_{name}' names '{parent}'; allowed: {list(names[:v])}."
                )
            rows[position[str(parent)]][v] = 1
    inner = (str(architecture.get(f"op_{name}", OPS[0])) for name in names[1:-1])
    return Graph(tuple(map(tuple, rows)), (INPUT, *inner, OUTPUT))
