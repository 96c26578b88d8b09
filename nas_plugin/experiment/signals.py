"""Signals that end a command never come between the start of a process and the note of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nas_plugin.signals import EXIT_CODES, is_ignored


@contextmanager
def held_signals() -> Iterator[None]:
    """Holds back the signals that end a process until the end of the block."""
    came: list[int] = []
    before = {}
    # Python sets handlers, and runs them, in the main thread only.
    if threading.current_thread() is threading.main_thread():
        for number in EXIT_CODES:
            if not is_ignored(number):
                before[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)
