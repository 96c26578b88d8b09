"""NAS-Bench-201: cells of four nodes whose six edges each hold one of five operations.

References:
    Dong & Yang 2020, https://arxiv.org/abs/2001.00326
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nas_plugin.errors import ArchitectureError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.search_space import SearchSpace

#: Candidates of every edge, in the order of the paper.
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
#: Edges as (target, source), in the order of the string.
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
#: One key an edge: ``edge_1_0`` leads from node 0 to node 1.
KEYS = tuple(f"edge_{target}_{source}" for target, source in EDGES)

_STRING = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|", re.ASCII)


def space() -> SearchSpace:
    """Returns the 15,625 cells, strings that mean the same network included."""
    return SearchSpace(Choice(key, "layer", OPS) for key in KEYS)


def from_ops(ops: Sequence[str]) -> Architecture:
    """Returns the architecture of six operation names, in the order of `EDGES`.

    Raises:
        ArchitectureError: If there are not six names or one is unknown.
    """
    if len(ops) != len(KEYS):
        raise ArchitectureError(f"A NAS-Bench-201 cell has 6 operations, got {len(ops)}: {ops}.")
    for op in ops:
        if op not in OPS:
            raise ArchitectureError(
                f"'{op}' is no operation of NAS-Bench-201. Allowed: {', '.join(OPS)}."
            )
    return Architecture(dict(zip(KEYS, ops, strict=True)))


def to_ops(architecture: Mapping[str, Value]) -> tuple[str, ...]:
    """Returns the six operation names, in the order of `EDGES`.

    Raises:
        ArchitectureError: If the architecture belongs to another space.
    """
    try:
        ops = tuple(str(architecture[key]) for key in KEYS)
    except KeyError as error:
        raise ArchitectureError(
            f"The architecture lacks the key {error}; a NAS-Bench-201 cell has {', '.join(KEYS)}."
        ) from error
    from_ops(ops)
    return ops


def from_string(text: str) -> Architecture:
    """Reads ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

    Raises:
        ArchitectureError: If the text has another form or an unknown operation.
    """
    match = _STRING.fullmatch(text.strip())
    if match is None:
        raise ArchitectureError(
            f"Not a NAS-Bench-201 string: '{text[:120]}'. "
            "Its form is |op~0|+|op~0|op~1|+|op~0|op~1|op~2|."
        )
    return from_ops(match.groups())


def to_string(architecture: Mapping[str, Value]) -> str:
    """Writes ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
    return "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*to_ops(architecture))


def unique_string(architecture: Mapping[str, Value], *, fold_zeros: bool = True) -> str:
    """Returns the published identity of a cell: equal strings are equal networks.

    A skip connection is replaced by what it copies and the terms of a sum are sorted, which
    leaves 12,751 of the 15,625 cells. With `fold_zeros` an edge that carries nothing counts as
    zero whatever follows it, which leaves 6,466.
    """
    ops = dict(zip(EDGES, to_ops(architecture), strict=True))
    nodes = {0: "0"}
    for target in (1, 2, 3):
        terms = []
        for source in range(target):
            op = ops[target, source]
            if fold_zeros and (op == "none" or nodes[source] == "#"):
                terms.append("#")
            elif op == "skip_connect":
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{op}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[3]


def isomorphic(first: Mapping[str, Value], second: Mapping[str, Value]) -> bool:
    """Says whether two cells are the same network under the published folding."""
    return unique_string(first) == unique_string(second)


def is_connected(architecture: Mapping[str, Value]) -> bool:
    """Says whether the output depends on the input (true for 15,284 cells)."""
    reached = {0}
    for (target, source), op in zip(EDGES, to_ops(architecture), strict=True):
        if op != "none" and source in reached:
            reached.add(target)
    return 3 in reached
