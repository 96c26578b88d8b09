"""Ctrl-C, SIGTERM and SIGHUP: finish the step, then stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from nas_plugin.signals import EXIT_CODES, Interrupted, is_ignored

__all__ = ["EXIT_CODES", "InterruptGuard", "Interrupted"]


class InterruptGuard:
    """Notes signals while it is entered, instead of breaking a step.

    A second Ctrl-C stops at once. What the process was started to ignore (nohup) stays ignored.

    Attributes:
        code: The exit code of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> InterruptGuard:
        # Only the main thread may set handlers; elsewhere signals are another's business.
        if threading.current_thread() is threading.main_thread():
            for number in EXIT_CODES:
                if not is_ignored(number):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.code == EXIT_CODES[signal.SIGINT] and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.code = EXIT_CODES[number]
