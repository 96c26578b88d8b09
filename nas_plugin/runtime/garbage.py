"""Python's garbage collector leaves alone what lives as long as a training."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """Keeps the collector from walking, inside the block, what exists when it begins.

    A supernet has hundreds of thousands of objects, and a full collection takes as long as a part
    of a step. Where a caller has frozen objects of its own, nothing is done.
    """
    if gc.get_freeze_count() > 0 or not gc.isenabled():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
