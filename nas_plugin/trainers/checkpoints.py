"""The folder that a run keeps its state in, and resumes from: one run at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas_plugin.errors import LockedError, NasError, OptionError
from nas_plugin.files import check_folder, folder_lock, load_latest, save_rotating
from nas_plugin.files.rotation import holds_checkpoint
from nas_plugin.runtime import Ranks

_log = logging.getLogger(__name__)


class Checkpoints:
    """Keeps the newest states of a run.

    Args:
        folder: Where they are kept; None keeps none.
        ranks: The processes of the run; the first one writes and holds the lock.
        every: Steps between two of them, beside one an epoch; None for none.
        resume: Whether the run continues from the newest.

    Raises:
        LockedError: If another run uses the folder.
        OptionError: If nothing can be written to the folder, it holds an earlier run that is not
            to be resumed, or there is none although one is needed.
    """

    def __init__(
        self, folder: str | Path | None, ranks: Ranks, *, every: int | None, resume: bool
    ) -> None:
        if folder is None and (resume or every):
            raise OptionError("resume and checkpoint_every need a checkpoint_dir.")
        self.folder = None if folder is None else Path(folder)
        self._ranks, self._every, self._resume = ranks, every, resume
        self._lock = None if self.folder is None else folder_lock(self.folder)
        self._held = False
        if self._lock is not None:
            self._lock.check_free()
        self._check()

    def is_due(self, step: int) -> bool:
        """Says whether a state is kept after a step, beside one an epoch."""
        return self._every is not None and step % self._every == 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs out of the folder; inside, it may be held once more.

        Raises:
            LockedError: If another run uses it, on every rank.
        """
        if self._lock is None or self._held:
            yield
            return
        refused: NasError | None = None
        if self._ranks.is_first:
            try:
                self._lock.acquire()
            except NasError as error:
                refused = error
        # Together: ranks that went on would wait for the first.
        if self._ranks.any(int(refused is not None)):
            raise refused or LockedError(
                f"{self.folder} cannot be used; the message of the first rank says why."
            )
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._lock.release()

    def latest(self) -> dict[str, Any] | None:
        """Returns the state to continue from; None to begin.

        Raises:
            OptionError: As the constructor.
            CheckpointError: If the newest files are all damaged.
        """
        self._check()
        found = None if self.folder is None else load_latest(self.folder)
        if found is None and self._resume:
            _log.warning("no checkpoint in %s: starting anew", self.folder)
        return found

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Writes a state that was reached after `step` steps.

        Raises:
            FileError: If it cannot be written, or the folder is gone or another run's.
        """
        if self.folder is not None and self._lock is not None:
            self._lock.check_held()
            save_rotating(self.folder, state, step)

    def _check(self) -> None:
        if self.folder is None:
            return
        if self._ranks.is_first:
            check_folder(self.folder)
        if not self._resume and holds_checkpoint(self.folder):
            raise OptionError(
                f"{self.folder} holds the checkpoint of an earlier run. Pass resume (--resume) to "
                "continue it, or choose another folder (--out)."
            )


def warn_of_changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Says which settings a resumed run does not share with the one that was saved."""
    for name, value in now.items():
        if saved.get(name) != value:
            _log.warning(
                "resumed with %s %s, saved with %s: results will not be bit-identical, and "
                "optimizers and schedules continue as they were saved",
                name, value, saved.get(name),
            )  # fmt: skip
