"""Dominance by its definition, more being better: what fronts are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Point = Sequence[float]


def beats(a: Point, b: Point) -> bool:
    """Says whether `a` is nowhere worse than `b` and somewhere better."""
    pairs = [(a[i], b[i]) for i in range(len(a))]
    return not any(x < y for x, y in pairs) and any(x > y for x, y in pairs)


def unbeaten(points: Iterable[Point]) -> set[int]:
    """Returns the numbers of the points that no other beats."""
    listed = list(points)
    return {i for i, p in enumerate(listed) if not any(beats(q, p) for q in listed)}
