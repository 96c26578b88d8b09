"""All that hears of a run: its callbacks, and what shows its progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.trainers.callbacks import Callback
from nas_plugin.trainers.progress import ProgressCallback


class Listeners:
    """Calls the callbacks of a run in their order, then what shows progress.

    Progress is no callback of the run: it has no state, so it may differ between a run and its
    resume.

    Args:
        callbacks: The callbacks of the run.
        progress: Show progress, unless `callbacks` hold a `ProgressCallback` of their own.
    """

    def __init__(self, callbacks: Sequence[Callback], *, progress: bool) -> None:
        own = any(isinstance(callback, ProgressCallback) for callback in callbacks)
        self._callbacks = callbacks
        self._progress = [ProgressCallback()] if progress and not own else []

    def __iter__(self) -> Iterator[Callback]:
        yield from self._callbacks
        yield from self._progress

    def __call__(self, event: str, *args: Any) -> None:
        """Calls one method of each."""
        for listener in self:
            getattr(listener, event)(*args)

    def close(self) -> None:
        """Ends each after an error, whose message a full disk must not replace by its own."""
        for listener in self:
            with suppress(FileError, OSError):
                listener.on_train_end()
