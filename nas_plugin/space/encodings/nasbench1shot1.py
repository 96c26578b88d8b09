"""NAS-Bench-1Shot1: three spaces whose cells NAS-Bench-101 holds, and how logits become cells.

References:
    Zela, Siems & Hutter 2020, https://arxiv.org/abs/2001.10422
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nas_plugin.errors import ArchitectureError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Condition, Value
from nas_plugin.space.encodings.nasbench101 import INPUT, OUTPUT, Graph, graph_of_parents
from nas_plugin.space.search_space import SearchSpace

#: Candidates of every choice block, in the order of the authors' logits.
OPS = ("maxpool3x3", "conv3x3-bn-relu", "conv1x1-bn-relu")

#: Numbers of parents of the inner nodes 1, 2, … and of the output, by space.
PARENTS = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}

#: Sizes as table 1 of the paper prints them. Only that of space 2 is the number of assignments
#: (ops times parents); what the others count is not said. `OneShotSpace.assignments` counts.
PUBLISHED_SIZES = {1: 6_240, 2: 29_160, 3: 363_648}
#: Architectures without loose ends, as the authors' generator enumerates them.
PUBLISHED_ENUMERATIONS = {1: 2_487, 2: 3_609, 3: 24_066}


@dataclass(frozen=True)
class OneShotSpace:
    """One of the three spaces.

    Args:
        number: 1, 2 or 3.

    Raises:
        ArchitectureError: If there is no such space.
    """

    number: int

    def __post_init__(self) -> None:
        if self.number not in PARENTS:
            raise ArchitectureError(
                f"NAS-Bench-1Shot1 has the spaces {list(PARENTS)}, not {self.number!r}."
            )

    @property
    def n_parents(self) -> tuple[int, ...]:
        """How many parents the inner nodes 1, 2, … and the output have."""
        return PARENTS[self.number]

    @property
    def names(self) -> tuple[str, ...]:
        """The vertices: input, inner nodes, output."""
        return (INPUT, *(f"node_{i}" for i in range(1, len(self.n_parents))), OUTPUT)

    @property
    def assignments(self) -> int:
        """Ways to fill all choices, loose ends included: 14,580, 29,160 and 1,312,200."""
        ways = 1
        for v, k in enumerate(self.n_parents, 1):
            ways *= len(list(itertools.combinations(range(v), k)))
        return int(ways * len(OPS) ** (len(self.n_parents) - 1))

    def space(self) -> SearchSpace:
        """Returns the cells; a node that leads nowhere has no keys.

        So it holds every network once a spelling: 3,702, 12,474 and 135,900.
        """
        names, choices = self.names, []
        for v in range(1, len(names)):
            used: tuple[tuple[Condition, ...], ...] = tuple(
                ((f"parents_{names[w]}", (names[v],)),) for w in range(v + 1, len(names))
            )
            parents, k = f"parents_{names[v]}", self.n_parents[v - 1]
            choices.append(Choice(parents, "input", names[:v], n_chosen=k, active_if=used))
            if names[v] != OUTPUT:
                choices.append(Choice(f"op_{names[v]}", "layer", OPS, active_if=used))
        return SearchSpace(choices)

    def to_graph(self, architecture: Mapping[str, Value]) -> Graph:
        """Returns the NAS-Bench-101 graph of an architecture."""
        return graph_of_parents(architecture, self.names)

    def from_graph(self, graph: Graph) -> Architecture:
        """Reads a matrix in the authors' order, with or without the unused seventh vertex.

        Raises:
            ArchitectureError: If a used vertex has another number of parents than the space says.
        """
        keep = [*range(len(self.names) - 1), len(graph.ops) - 1]
        if len(graph.ops) < len(self.names):
            raise ArchitectureError(
                f"Space {self.number} has {len(self.names)} vertices, "
                f"the matrix only {len(graph.ops)}."
            )
        chosen: dict[str, Value] = {}
        used = {len(self.names) - 1}
        for v in range(len(self.names) - 1, 0, -1):
            if v not in used:
                continue
            parents = [u for u in range(v) if graph.matrix[keep[u]][keep[v]]]
            total = sum(row[keep[v]] for row in graph.matrix)
            if not len(parents) == total == self.n_parents[v - 1]:
                raise ArchitectureError(
                    f"Vertex '{self.names[v]}' has {total} parents; space {self.number} gives it "
                    f"{self.n_parents[v - 1]} of {list(self.names[:v])}."
                )
            used.update(parents)
            chosen[f"parents_{self.names[v]}"] = tuple(self.names[u] for u in parents)
            if v < len(self.names) - 1:
                chosen[f"op_{self.names[v]}"] = graph.ops[keep[v]]
        return Architecture(chosen)

    def from_logits(
        self, ops: Sequence[Sequence[float]], parents: Mapping[str, Sequence[float]]
    ) -> Architecture:
        """Discretizes a one-shot model: op = argmax, parents = the k inputs of highest logit.

        Args:
            ops: One row of logits an inner node, columns in the order of `OPS`.
            parents: Node name (``node_3``, ``output``) to one logit an earlier vertex. Nodes that
                take all earlier vertices need none.

        Raises:
            ArchitectureError: If a row is missing or has the wrong length.
        """
        names = self.names
        inner = names[1:-1]
        if len(ops) != len(inner) or any(len(row) != len(OPS) for row in ops):
            raise ArchitectureError(
                f"Space {self.number} needs {len(inner)} rows of {len(OPS)} operation logits, "
                f"got {[len(row) for row in ops]}."
            )
        unknown = sorted(set(parents) - set(names[1:]))
        if unknown:
            raise ArchitectureError(f"No node is called {unknown}; the nodes are {names[1:]}.")
        chosen: dict[str, Value] = {}
        for v in range(1, len(names)):
            k = self.n_parents[v - 1]
            logits = parents.get(names[v], [0.0] * v if k == v else ())
            if len(logits) != v:
                raise ArchitectureError(
                    f"'{names[v]}' needs {v} input logits, one for each of {list(names[:v])}, "
                    f"got {len(logits)}."
                )
            best = sorted(range(v), key=lambda u: logits[u], reverse=True)[:k]
            chosen[f"parents_{names[v]}"] = tuple(names[u] for u in sorted(best))
        for name, row in zip(inner, ops, strict=True):
            chosen[f"op_{name}"] = OPS[max(range(len(OPS)), key=lambda o: row[o])]
        return self.space().architecture(chosen)

    def without_loose_ends(self) -> Iterator[Architecture]:
        """Yields what the authors' generator enumerates: 2,487, 3,609 and 24,066 cells.

        From the output it follows each vertex's last parent until the input, and keeps the cells
        whose used vertices all lie on that path.
        """
        names = self.names

        def follow(path: list[int], parents: dict[int, tuple[int, ...]]) -> Iterator[Architecture]:
            v = path[-1]
            if v == 0:
                used = {u for chosen in parents.values() for u in chosen}
                if used <= set(path):
                    yield from self._with_every_op(parents)
                return
            for chosen in itertools.combinations(range(v), self.n_parents[v - 1]):
                yield from follow([*path, chosen[-1]], {**parents, v: chosen})

        yield from follow([len(names) - 1], {})

    def _with_every_op(self, parents: Mapping[int, tuple[int, ...]]) -> Iterator[Architecture]:
        names = self.names
        wiring: dict[str, Value] = {
            f"parents_{names[v]}": tuple(names[u] for u in chosen) for v, chosen in parents.items()
        }
        inner = [names[v] for v in sorted(parents) if names[v] != OUTPUT]
        for ops in itertools.product(OPS, repeat=len(inner)):
            named = zip(inner, ops, strict=True)
            yield Architecture({**wiring, **{f"op_{name}": op for name, op in named}})
