"""Scalars and the probabilities of every choice, for TensorBoard."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.files.write import unwritable
from nas_plugin.reporting.jsonl import POSITION

_UNSAFE_KEY = re.compile(r"[^\w./-]", re.ASCII)
_UNSAFE_NAME = re.compile(r"[^\w.-]", re.ASCII)


class TensorBoardLog:
    """Writes records as TensorBoard events.

    A metric is ``<phase>/<name>``. A record of phase ``choices`` gives one scalar a candidate,
    ``choices/<key>/<candidate>``, and the entropy of every key in nats, ``entropy/<key>``.

    Args:
        folder: Where the events go; several runs may lie in sibling folders.
        purge_step: On resume, the first step that is written again (one more than the checkpoint
            has done); what a killed run wrote at it or later is hidden.

    Raises:
        OptionError: If TensorBoard is not installed.
        FileError: If nothing can be written into the folder.
    """

    def __init__(self, folder: str | Path, *, purge_step: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OptionError(
                f"TensorBoardLog needs torch and tensorboard ({error}): pip install tensorboard."
            ) from error
        self._folder = Path(folder)
        try:
            self._writer: Any = SummaryWriter(str(folder), purge_step=purge_step)
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Writes a record at its ``step``; entries that are not numbers are left out."""
        step = int(record["step"])
        with self._said():
            for tag, value in scalars(record).items():
                self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Makes everything visible to TensorBoard."""
        with self._said():
            self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the files; closing twice is fine."""
        with self._said():
            self._writer.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turns what the system refuses, at once or in TensorBoard's thread, into our error."""
        try:
            yield
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Returns tag → number for a record."""
    if record.get("phase") == "choices":
        found = {}
        for key, probabilities in record["probabilities"].items():
            tag = _safe(str(key), _UNSAFE_KEY)
            for candidate, p in probabilities.items():
                found[f"choices/{tag}/{_safe(str(candidate), _UNSAFE_NAME)}"] = float(p)
            found[f"entropy/{tag}"] = entropy(probabilities)
        return found
    phase = _safe(str(record.get("phase", "run")), _UNSAFE_NAME)
    return {
        f"{phase}/{_safe(name, _UNSAFE_KEY)}": float(value)
        for name, value in record.items()
        if name not in POSITION and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def entropy(probabilities: Mapping[str, float]) -> float:
    """Returns the entropy in nats; probabilities that do not sum to 1 are scaled first.

    It is 0 where one candidate has won and log K where nothing is decided.
    """
    total = sum(probabilities.values())
    if not math.isfinite(total) or total <= 0:
        return math.nan
    shares = [p / total for p in probabilities.values() if p > 0]
    return -sum(p * math.log(p) for p in shares) + 0.0


def _safe(name: str, unsafe: re.Pattern[str]) -> str:
    """Returns `name` with only characters that tags may hold; different names stay different."""
    clean = unsafe.sub("_", name)
    if clean == name and name.strip("/") == name and name:
        return name
    return f"{clean.strip('/')}-{zlib.crc32(name.encode('utf-8', 'replace')):08x}"
