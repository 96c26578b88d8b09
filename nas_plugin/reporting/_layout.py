"""Layered layout of a small directed acyclic graph, from left to right.

Labels take part as if they were nodes: nodes lie in the even columns, labels in the odd ones, and
an edge has a slot of its own in every column that it passes. In a column everything is level, so
no edge crosses a box and no two labels meet.

References:
    Sugiyama, Tagawa & Toda 1981, https://doi.org/10.1109/TSMC.1981.4308636
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

GAP_X, GAP_Y, SLOT = 26.0, 12.0, 6.0
SWEEPS, RIGID = 24, 60.0


@dataclass
class Slot:
    """A box in a column: a node, a label, or the place where an edge passes.

    x and y are its centre; the column reaches from `left` to `right`.
    """

    column: int
    width: float
    height: float
    rank: float
    rigid: bool = False
    before: list[Slot] = field(default_factory=list, repr=False)
    after: list[Slot] = field(default_factory=list, repr=False)
    x: float = 0.0
    y: float = 0.0
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True)
class LayeredLayout:
    """Where everything lies.

    Args:
        nodes: One slot a node.
        chains: For every edge the slots from its source to its target, both included.
        labels: For every edge the slot of its label.
        width: Width of the whole drawing.
        height: Height of the whole drawing.
    """

    nodes: list[Slot]
    chains: list[list[Slot]]
    labels: list[Slot]
    width: float
    height: float


def layered_layout(
    node_sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    label_sizes: Sequence[tuple[float, float]],
) -> LayeredLayout:
    """Places nodes and labels; a label of width 0 takes only the room of its edge.

    Raises:
        ValueError: If the edges form a cycle.
    """
    ranks = longest_paths(len(node_sizes), edges)
    nodes = [
        Slot(2 * r, w, h, i) for i, (r, (w, h)) in enumerate(zip(ranks, node_sizes, strict=True))
    ]
    columns: list[list[Slot]] = [[] for _ in range(2 * max(ranks, default=0) + 1)]
    for node in nodes:
        columns[node.column].append(node)
    chains, labels = _chains(nodes, edges, label_sizes, columns)
    _order(columns)
    _place(columns)
    width, height = _normalise(columns)
    return LayeredLayout(nodes, chains, labels, width, height)


def longest_paths(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Returns for every node the number of edges on the longest path to it.

    Raises:
        ValueError: If the edges form a cycle.
    """
    ranks = [0] * n
    for _ in range(n + 1):
        moved = False
        for source, target in edges:
            if ranks[target] <= ranks[source]:
                ranks[target] = ranks[source] + 1
                moved = True
        if not moved:
            return ranks
    raise ValueError("the edges form a cycle")


def _chains(
    nodes: Sequence[Slot],
    edges: Sequence[tuple[int, int]],
    label_sizes: Sequence[tuple[float, float]],
    columns: list[list[Slot]],
) -> tuple[list[list[Slot]], list[Slot]]:
    """Gives every edge a slot a column; its label goes where the fewest labels are."""
    chains: list[list[Slot]] = [[] for _ in edges]
    labels: list[Slot] = [nodes[0]] * len(edges) if nodes else []
    load = [0] * len(columns)
    spans = [nodes[target].column - nodes[source].column for source, target in edges]
    for i in sorted(range(len(edges)), key=lambda i: spans[i]):
        source, target = nodes[edges[i][0]], nodes[edges[i][1]]
        odd = range(source.column + 1, target.column, 2)
        # Beside the target where it is a tie: there labels sit in the order of the arrows.
        label_column = min(reversed(odd), key=lambda column: load[column])
        labelled = label_sizes[i][0] > 0
        load[label_column] += labelled
        chain = [source]
        for column in range(source.column + 1, target.column):
            share = (column - source.column) / spans[i]
            rank = source.rank + share * (target.rank - source.rank)
            slot = Slot(column, 0.0, SLOT, rank, rigid=True)
            if column == label_column:
                labels[i] = slot
                if labelled:
                    slot.width, slot.height = label_sizes[i]
            columns[column].append(slot)
            chain.append(slot)
        chain.append(target)
        for left, right in itertools.pairwise(chain):
            left.after.append(right)
            right.before.append(left)
        chains[i] = chain
    return chains, labels


def _order(columns: list[list[Slot]]) -> None:
    """Orders every column so that few edges cross: barycentres, then swaps of neighbours."""
    for column in columns:
        column.sort(key=lambda slot: slot.rank)
    _number(columns)
    best = [list(column) for column in columns]
    fewest = _crossings(columns)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else reversed(columns):
            column.sort(key=lambda slot: _barycentre(slot, slot.before if forward else slot.after))
            _number([column])
        for column in columns:
            _swap_neighbours(column)
        found = _crossings(columns)
        if found < fewest:
            best, fewest = [list(column) for column in columns], found
    for column, kept in zip(columns, best, strict=True):
        column[:] = kept
    _number(columns)


def _number(columns: Sequence[list[Slot]]) -> None:
    for column in columns:
        for i, slot in enumerate(column):
            slot.rank = i


def _barycentre(slot: Slot, neighbours: Sequence[Slot]) -> float:
    if not neighbours:
        return slot.rank
    return sum(other.rank for other in neighbours) / len(neighbours)


def _crossings(columns: Sequence[list[Slot]]) -> int:
    total = 0
    for column in columns:
        ends = [[other.rank for other in slot.after] for slot in column]
        for i, upper in enumerate(ends):
            for lower in ends[i + 1 :]:
                total += sum(a > b for a in upper for b in lower)
    return total


def _swap_neighbours(column: list[Slot]) -> None:
    """Swaps neighbours as long as that saves crossings."""
    for _ in range(len(column)):
        swapped = False
        for i in range(len(column) - 1):
            upper, lower = column[i], column[i + 1]
            saved = 0
            for a, b in ((upper.before, lower.before), (upper.after, lower.after)):
                saved += sum((p.rank > q.rank) - (p.rank < q.rank) for p in a for q in b)
            if saved > 0:
                column[i], column[i + 1] = lower, upper
                upper.rank, lower.rank = lower.rank, upper.rank
                swapped = True
        if not swapped:
            return


def _place(columns: Sequence[list[Slot]]) -> None:
    """Moves everything towards its neighbours, keeping order and distance."""
    for column in columns:
        _settle(column, [0.0] * len(column), [1.0] * len(column))
    for sweep in range(8 * SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted, weights = [], []
            for slot in column:
                pulls = [
                    (other.y, RIGID if slot.rigid and other.rigid else 1.0)
                    for other in (*slot.before, *slot.after)
                ]
                total = sum(pull for _, pull in pulls)
                wanted.append(sum(y * p for y, p in pulls) / total if pulls else slot.y)
                weights.append(total or 1.0)
            _settle(column, wanted, weights)
    x = 0.0
    for column, following in zip(columns, [*columns[1:], []], strict=True):
        width = max((slot.width for slot in column), default=0.0)
        for slot in column:
            slot.x, slot.left, slot.right = x + width / 2, x, x + width
        rise = max((abs(s.y - t.y) for s in column for t in s.after), default=0.0)
        x += width + (GAP_X + min(rise * 0.22, 34.0) if following else 0.0)


def _settle(column: Sequence[Slot], wanted: Sequence[float], weights: Sequence[float]) -> None:
    """Sets the y nearest to `wanted` (least squares) that keep all distances.

    Subtracting the room that is taken above turns distances into an order, which pooling of
    adjacent violators solves exactly.
    """
    offsets, room = [], 0.0
    for i, slot in enumerate(column):
        if i:
            room += (column[i - 1].height + slot.height) / 2 + GAP_Y
        offsets.append(room)
    blocks: list[tuple[float, float, int]] = []
    for target, offset, weight in zip(wanted, offsets, weights, strict=True):
        mean, mass, count = target - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            above, above_mass, above_count = blocks.pop()
            mean = (mean * mass + above * above_mass) / (mass + above_mass)
            mass, count = mass + above_mass, count + above_count
        blocks.append((mean, mass, count))
    levels = [mean for mean, _, count in blocks for _ in range(count)]
    for slot, level, offset in zip(column, levels, offsets, strict=True):
        slot.y = level + offset


def _normalise(columns: Sequence[list[Slot]]) -> tuple[float, float]:
    slots = [slot for column in columns for slot in column]
    if not slots:
        return 0.0, 0.0
    top = min(slot.y - slot.height / 2 for slot in slots)
    for slot in slots:
        slot.y -= top
    return (
        max(slot.x + slot.width / 2 for slot in slots),
        max(slot.y + slot.height / 2 for slot in slots),
    )
