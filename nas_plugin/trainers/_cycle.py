"""Batches without end, in a new order every pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nas_plugin.data import Loader


def cycled(loader: Loader, start: int) -> Iterator[tuple[Any, Any]]:
    """Yields batches from number `start` on, counted over all passes.

    Every pass is an epoch of the loader, so it is shuffled anew, and the batch of a number is the
    same whether a run was stopped before it or not.
    """
    passes, position = divmod(start, len(loader))
    while True:
        yield from loader.batches(passes, position)
        passes, position = passes + 1, 0
