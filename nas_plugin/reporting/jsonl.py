"""The log of a run: one JSON object a line, equal after a kill and a resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from nas_plugin.errors import FileError, OptionError
from nas_plugin.files import parse_json, read_lines
from nas_plugin.files.write import unwritable, write_whole

# What places a record; everything else in it is a metric.
POSITION = ("step", "epoch", "phase", "time")
MAX_LINE = 64 * 2**20
MAX_BYTES = 4 * 2**30
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class JsonlLog:
    """Appends records to a file, one JSON object a line, each visible at once.

    JSON has no word for non-finite numbers: they are written as the strings ``"nan"``, ``"inf"``
    and ``"-inf"``, and `read_jsonl` turns them back.

    Args:
        path: The file; its folder is made. Without `resume_at` it starts empty.
        resume_at: `position` at the checkpoint from which a run continues. What a killed run wrote
            after it is cut off, so that the log equals that of a run without a break.
        elapsed: Seconds that earlier parts of the run took; added to every ``time``.
        clock: Gives monotonic seconds.

    Raises:
        FileError: If the file is not the one that was at `resume_at`.
        OptionError: If `resume_at` is negative.
    """

    def __init__(
        self,
        path: str | Path,
        resume_at: int | None = None,
        *,
        elapsed: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        if resume_at is not None and resume_at < 0:
            raise OptionError(f"resume_at is a position in {path}, at least 0; got {resume_at}.")
        self._clock = clock
        self._zero = clock() - elapsed
        self._position = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if resume_at:
                _check_end_of_line(self.path, resume_at)
                os.truncate(self.path, resume_at)
            # Unbuffered: a line that the disk refused is not tried again by the next.
            self._file = self.path.open("ab" if resume_at else "wb", buffering=0)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends a record; ``time`` is added where it has none.

        Values are JSON, or have ``tolist`` (tensors, arrays and their scalars).

        Raises:
            OptionError: If a value is neither.
            FileError: If the disk is full, say, or the file was deleted; the lines before it stay.
        """
        timed = {**record}
        timed.setdefault("time", round(self._clock() - self._zero, 3))
        line = json.dumps(plain(timed, "record"), ensure_ascii=False, allow_nan=False)
        # A lone surrogate (a file name that is no UTF-8, say) must not stop a search.
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        try:
            found = os.fstat(self._file.fileno())
            if found.st_nlink == 0:
                raise FileError(
                    f"The log {self.path} was deleted while the run wrote to it. Nothing more is "
                    "written; put the folder back and go on from its checkpoint, or start anew."
                )
            write_whole(self._file, data, found.st_size)
        except OSError as error:
            raise unwritable(self.path, error) from error

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    @property
    def position(self) -> int:
        """Bytes written, and safe on the disk: a checkpoint that holds it can rely on them."""
        if not self._file.closed:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise unwritable(self.path, error) from error
            self._position = self._file.tell()
        return self._position

    def close(self) -> None:
        """Closes the file; closing twice is fine."""
        try:
            self._position = self.position
        finally:
            self._file.close()

    def __enter__(self) -> JsonlLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """Reads the records that `JsonlLog` wrote.

    A last line that was torn by a kill is left out; every other fault is an error.

    Raises:
        FileError: If the file cannot be read or a line is not a JSON object.
    """
    records = []
    for number, line in read_lines(path, MAX_BYTES, MAX_LINE):
        if not line.strip():
            continue
        where = f"{path}, line {number}: this record"
        try:
            found = _restored(parse_json(line.decode(), where, lone_surrogates=True))
            if not isinstance(found, dict):
                raise FileError(f"{where} is no JSON object. Mend or remove the line.")
        except (UnicodeDecodeError, FileError) as error:
            if not line.endswith(b"\n"):
                break
            if isinstance(error, FileError):
                raise
            raise FileError(f"{where} is not UTF-8 text. Mend or remove the line.") from error
        records.append(found)
    return records


def plain(value: Any, where: str) -> Any:
    """Returns `value` as JSON; non-finite numbers become strings.

    Raises:
        OptionError: If that cannot be; names `where`.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(key): plain(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    raise OptionError(
        f"{where} is a {type(value).__name__}, which a log cannot hold. Give numbers, strings, "
        "lists, dicts or tensors."
    )


def _restored(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _restored(entry) for key, entry in value.items()}
    return [_restored(entry) for entry in value] if isinstance(value, list) else value


def _check_end_of_line(path: Path, position: int) -> None:
    """Checks that a record ends at `position`."""
    size = path.stat().st_size if path.exists() else 0
    if size >= position:
        with path.open("rb") as file:
            file.seek(position - 1)
            if file.read(1) == b"\n":
                return
        found = f"no record ends at byte {position}"
    else:
        found = f"it has {size} bytes, fewer than the {position} of the checkpoint"
    raise FileError(
        f"The log {path} is not the one that the checkpoint was written with: {found}. Put the "
        "file back, or start anew in another folder."
    )
