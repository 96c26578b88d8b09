"""Splits and orders of samples as functions of a seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nas_plugin.errors import OptionError


def split_indices(
    n: int, fractions: Sequence[float] = (0.5, 0.5), *, seed: int, targets: Tensor | None = None
) -> list[Tensor]:
    """Returns disjoint indices of `n` samples, one tensor a fraction.

    Args:
        n: How many samples there are.
        fractions: Share of each part; together at most 1.
        seed: The split follows from it.
        targets: Classes ``(n,)``; each part then holds them in proportion.

    Raises:
        OptionError: If the fractions are not positive or exceed 1.
    """
    if not fractions or any(f <= 0 for f in fractions) or sum(fractions) > 1 + 1e-9:
        raise OptionError(f"fractions must be positive and at most 1 together, got {fractions}.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    if targets is not None:
        order = _interleaved(order, targets)
    ends = [round(n * sum(fractions[: i + 1])) for i in range(len(fractions))]
    starts = [0, *ends[:-1]]
    return [order[a:b] for a, b in zip(starts, ends, strict=True)]


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """Returns the order of an epoch, f(seed, epoch)."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)


def part_seed(seed: int, part: int) -> int:
    """Returns the seed of a part of the data, 0 for the first, so that no two are ordered alike."""
    return (seed + 0x9E3779B97F4A7C15 * part) % 2**40 if part else seed


def _interleaved(order: Tensor, targets: Tensor) -> Tensor:
    """Sorts a random order so that every stretch of it holds the classes in proportion."""
    position = torch.empty(len(order), dtype=torch.float64)
    for target in torch.unique(targets):
        members = order[targets[order] == target]
        rank = torch.arange(len(members), dtype=torch.float64)
        position[members] = (rank + 0.5) / len(members)
    return order[position[order].argsort(stable=True)]
