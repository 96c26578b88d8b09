"""Signals that ask a process to end: what it exits with, from its first line on."""

from __future__ import annotations

import atexit
import os
import signal
from types import FrameType

#: Signal → exit code, as shells have it: 128 + the signal's number.
EXIT_CODES: dict[int, int] = {
    int(getattr(signal, name)): 128 + int(getattr(signal, name))
    for name in ("SIGHUP", "SIGINT", "SIGTERM")
    if hasattr(signal, name)  # Windows has no SIGHUP
}


class Interrupted(SystemExit):
    """A signal ends the process; its code is 129 (SIGHUP), 130 (Ctrl-C) or 143 (SIGTERM)."""


class _Process:
    """How far this process is."""

    handled = False
    running = False


def handle_signals() -> None:
    """Makes SIGTERM, SIGHUP and Ctrl-C end this process with their exit codes.

    For the first line of a program, before torch is imported, which takes seconds. Until
    `begin_work` a signal ends the process at once: nothing was begun, and an exception inside an
    import can get lost. From then on it raises `Interrupted`, or KeyboardInterrupt. A signal that
    the caller ignores (nohup, a background job) stays ignored.
    """
    if _Process.handled:
        return
    _Process.handled = True
    for number in EXIT_CODES:
        if not is_ignored(number):
            signal.signal(number, _end)
    # The first that is registered runs last: what comes after it is the interpreter's own end, in
    # which a handler of Python no longer runs.
    atexit.register(_ignore)


def begin_work() -> None:
    """Says that from now on a signal must unwind what was begun."""
    _Process.running = True


def is_ignored(number: int) -> bool:
    """Whether this process was started with a signal ignored, or ignores it by now."""
    return signal.getsignal(number) is signal.SIG_IGN


def _end(number: int, frame: FrameType | None) -> None:
    code = EXIT_CODES[number]
    if not _Process.running:
        os.write(2, f"ended by {signal.Signals(number).name} before it began\n".encode())
        os._exit(code)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Interrupted(code)


def _ignore() -> None:
    for number in EXIT_CODES:
        signal.signal(number, signal.SIG_IGN)
