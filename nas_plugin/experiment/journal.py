"""The journal of an experiment: an append-only file of events, each on disk before it counts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError
from nas_plugin.files import parse_json, read_bytes, read_lines
from nas_plugin.files.write import sync_folder

Event = dict[str, Any]

#: The folder of nas_plugin's own files, inside the experiment's and inside a trial's folder.
FOLDER = "nas_plugin"

_MAX_BYTES = 2**30
_MAX_LINE = 16 * 2**20
_SUM = 16
_LINE = re.compile(rb'(\{.*),"sum":"([0-9a-f]{%d})"\}\n' % _SUM, re.DOTALL)


def journal_path(experiment: Path) -> Path:
    """Returns the path of the journal in an experiment's folder."""
    return experiment / FOLDER / "journal.jsonl"


class Journal:
    """Appends events, numbered from 0; one process writes.

    An event is on disk (fsync) when `append` returns. A process that is killed while it writes
    leaves at most an unfinished last line, which is cut off when the journal is opened again;
    any other damage is an error: each line ends with the check sum of what stands before it.

    Args:
        path: The file, made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        #: All events so far.
        self.events: list[Event] = [] if is_new else list(read_journal(path))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.ftruncate(self._file, _complete_size(path))
        os.lseek(self._file, 0, os.SEEK_END)
        if is_new:
            sync_folder(path.parent)

    def append(self, event: str, **fields: Any) -> Event:
        """Writes an event and returns it.

        Raises:
            FileError: If a field is not plain JSON.
        """
        entry = {"n": len(self.events), "time": time.time(), "event": event, **fields}
        try:
            line = json.dumps(entry, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise FileError(f"{self.path}: event '{event}' is not plain JSON: {error}.") from error
        data = _signed(line.encode())
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)
        self.events.append(entry)
        return entry

    def close(self) -> None:
        """Closes the file; nothing can be appended afterwards."""
        os.close(self._file)


def read_journal(path: Path, damaged: Callable[[str], None] | None = None) -> Iterator[Event]:
    """Yields the events of a journal, which another process may be writing.

    Args:
        path: The file.
        damaged: Takes the description of a line that was changed or torn, which is then left out;
            None makes it an error.

    Raises:
        FileError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise FileError(
            f"There is no journal at {path}. Only experiments whose tuner is "
            "nas_plugin.experiment.NasTuner have one."
        )
    expected = 0
    for number, line in read_lines(path, _MAX_BYTES, _MAX_LINE):
        if not line.endswith(b"\n"):
            return
        where = f"{path}, line {number}"
        try:
            entry = _entry(line, where)
            found = entry["n"]
            if found != expected:
                raise FileError(
                    f"{where}: expected event number {expected}, found {found}; lines are missing "
                    "or were changed. Restore the file from a copy."
                )
        except _DamagedLineError as error:
            if damaged is None:
                raise
            damaged(str(error))
            expected += 1
        except FileError as error:
            if damaged is None:
                raise
            damaged(str(error))
            if found > expected:  # whole, but others are missing before it
                expected = found + 1
                yield entry
        else:
            expected += 1
            yield entry


class _DamagedLineError(FileError):
    """A line of the journal is not what was written."""


def _signed(body: bytes) -> bytes:
    """Returns the line of a JSON object, with the check sum of its text as the last field."""
    return body[:-1] + b',"sum":"' + _check_sum(body) + b'"}\n'


def _check_sum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_SUM].encode()


def _entry(line: bytes, where: str) -> Event:
    match = _LINE.fullmatch(line)
    if match is None or _check_sum(match[1] + b"}") != match[2]:
        problem = "is missing" if match is None else "does not fit"
        raise _DamagedLineError(
            f"{where} was changed or torn: its check sum {problem}. Restore the file from a copy."
        )
    try:
        entry = parse_json((match[1] + b"}").decode(), where)
    except (UnicodeDecodeError, FileError) as error:
        raise _DamagedLineError(
            f"{where} is not what this program writes: {error}. Restore the file from a copy."
        ) from error
    if not isinstance(entry, dict) or not isinstance(entry.get("n"), int):
        raise _DamagedLineError(f"{where} is no event. Restore the file from a copy.")
    return entry


def _complete_size(path: Path) -> int:
    """Returns the number of bytes up to the last complete line."""
    data = read_bytes(path, _MAX_BYTES)
    return data.rfind(b"\n") + 1
