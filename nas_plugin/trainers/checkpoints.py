"""The folder that a run keeps its state in, and resumes from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.files import check_folder, load_latest, save_rotating
from nas_plugin.files.rotation import holds_checkpoint

_log = logging.getLogger(__name__)


class Checkpoints:
    """Keeps the newest states of a run.

    Args:
        folder: Where they are kept; None keeps none.
        every: Steps between two of them, beside one an epoch; None for none.
        resume: Whether the run continues from the newest.
        writes: Whether this process writes: that of the first rank.

    Raises:
        OptionError: If nothing can be written to the folder, it holds an earlier run that is not
            to be resumed, or there is none although one is needed.
    """

    def __init__(
        self, folder: str | Path | None, *, every: int | None, resume: bool, writes: bool
    ) -> None:
        if folder is None and (resume or every):
            raise OptionError("resume and checkpoint_every need a checkpoint_dir.")
        self.folder = None if folder is None else Path(folder)
        self._every, self._resume, self._writes = every, resume, writes
        self._check()

    def is_due(self, step: int) -> bool:
        """Says whether a state is kept after a step, beside one an epoch."""
        return self._every is not None and step % self._every == 0

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
        """Writes a state that was reached after `step` steps."""
        if self.folder is not None:
            save_rotating(self.folder, state, step)

    @property
    def are_written(self) -> bool:
        """Whether this process writes any."""
        return self.folder is not None and self._writes

    def _check(self) -> None:
        if self.folder is None:
            return
        if self._writes:
            check_folder(self.folder)
        if not self._resume and holds_checkpoint(self.folder):
            raise OptionError(
                f"{self.folder} holds the checkpoint of an earlier run. Pass resume (--resume) to "
                "continue it, or choose another folder (--out)."
            )
