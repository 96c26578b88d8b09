"""Ctrl-C and SIGTERM: finish the step, then stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

#: Signal → exit code, as shells have it: 128 + the signal's number.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Interrupted(SystemExit):
    """The run was stopped by a signal after it saved its state; its code is 130 or 143."""


class InterruptGuard:
    """Notes signals while it is entered, instead of breaking a step.

    A second Ctrl-C stops at once.

    Attributes:
        code: The exit code of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> InterruptGuard:
        # Only the main thread may set handlers; elsewhere signals are another's business.
        if threading.current_thread() is threading.main_thread():
            for sig in EXIT_CODES:
                self._before[sig] = signal.signal(sig, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sig, handler in self._before.items():
            signal.signal(sig, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.code == EXIT_CODES[signal.SIGINT] and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.code = EXIT_CODES[signal.Signals(number)]
