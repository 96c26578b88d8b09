"""Dominance: fronts of points and how crowded they are. More is better in every coordinate."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[Sequence[float]]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Says whether `a` is nowhere worse than `b` and somewhere better."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def fronts(points: Points) -> list[list[int]]:
    """Sorts points (by index) into fronts: the first is dominated by none, and so on."""
    # In descending order, what dominates a point comes before it, in its front or an earlier one.
    order = sorted(range(len(points)), key=lambda i: tuple(points[i]), reverse=True)
    found: list[list[int]] = []
    for i in order:
        for front in found:
            if not any(dominates(points[j], points[i]) for j in front):
                front.append(i)
                break
        else:
            found.append([i])
    return found


def crowding(points: Points) -> list[float]:
    """Returns for each point of a front how far apart its two neighbours are; ends are infinite."""
    if not points:
        return []
    distances = [0.0] * len(points)
    for axis in range(len(points[0])):
        order = sorted(range(len(points)), key=lambda i: points[i][axis])
        low, high = points[order[0]][axis], points[order[-1]][axis]
        distances[order[0]] = distances[order[-1]] = math.inf
        if high > low:
            for before, i, after in zip(order, order[1:], order[2:], strict=False):
                distances[i] += (points[after][axis] - points[before][axis]) / (high - low)
    return distances
