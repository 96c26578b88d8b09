"""A progress bar on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import Any

from nas_plugin.errors import OptionError


class Progress:
    """Shows steps on a terminal; elsewhere only the lines of `note` appear, on stderr as well.

    Use it as a context manager: the bar is closed on errors and on Ctrl-C too.

    Args:
        total: Steps in all; None if that is not known.
        desc: What is being done.
        enabled: Whether to show the bar; None shows it if stderr is a terminal.
        initial: Steps done before, if a run is resumed.

    Raises:
        OptionError: If a number is negative.
    """

    def __init__(
        self, total: int | None, desc: str, enabled: bool | None = None, *, initial: int = 0
    ) -> None:
        if (total is not None and total < 0) or initial < 0:
            raise OptionError(f"Progress counts from 0, got total={total}, initial={initial}.")
        self.desc = desc
        self.enabled = sys.stderr.isatty() if enabled is None else enabled
        self._bar: Any = None
        if self.enabled:
            from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

            self._bar = tqdm(
                total=total, desc=desc, initial=initial, file=sys.stderr, dynamic_ncols=True
            )

    def update(self, n: int = 1, **shown: float | str) -> None:
        """Counts `n` more steps and shows values beside the bar."""
        if self._bar is None:
            return
        if shown:
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(n)

    def note(self, message: str) -> None:
        """Prints one line, such as the figures of an epoch; a bar stays below it.

        A terminal that is gone, or stderr on a full disk, ends no run: what is kept is in files.
        """
        with contextlib.suppress(OSError):
            if self._bar is None:
                print(f"{self.desc}: {message}", file=sys.stderr, flush=True)
            else:
                self._bar.write(message, file=sys.stderr)

    def close(self) -> None:
        """Leaves the bar as it is and frees the line; closing twice is fine."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
