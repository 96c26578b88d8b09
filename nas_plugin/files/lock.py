"""One run a folder: a lock that names its process, and falls when that process is gone."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from nas_plugin.errors import FileError, LockedError
from nas_plugin.files.json_file import read_json
from nas_plugin.files.read import PathLike
from nas_plugin.files.shape import NUMBER, TEXT, WHOLE, check_json
from nas_plugin.files.write import unwritable, write_atomic

NAME = ".nas_plugin.lock"
_SHAPE = {"pid": WHOLE, "host": TEXT, "started": NUMBER, "since": TEXT}
_TICKS = 0.05  # Linux counts hundredths of a second
_MAX_BYTES = 2**16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock.

    Args:
        pid: Its number, which another process may get when it is gone.
        host: Its machine.
        started: Seconds between the machine's start and its own, which together with the number
            say that it is the same process; no change of the clock moves them.
        since: When it took the lock, for people.
    """

    pid: int
    host: str
    started: float
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """Returns what this process writes into a lock."""
        pid = os.getpid()
        started = _started(pid)
        assert started is not None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(pid, socket.gethostname(), round(started, 2), since)

    def is_same(self, other: Holder | None) -> bool:
        """Whether both are one process."""
        return (
            other is not None
            and (self.pid, self.host) == (other.pid, other.host)
            and abs(self.started - other.started) <= _TICKS
        )

    def may_run(self) -> bool:
        """Whether the process is there; one of another machine is taken to be."""
        if self.host != socket.gethostname():
            return True
        started = _started(self.pid)
        return started is not None and abs(started - self.started) <= _TICKS


class Lock:
    """A file that one process at a time holds.

    Args:
        path: The file; it is there only while the lock is held.
        what: What it protects, as errors call it.
    """

    def __init__(self, path: PathLike, what: str) -> None:
        self.path, self.what = Path(path), what
        self._own: Holder | None = None

    def acquire(self) -> None:
        """Takes the lock; one whose process has died is taken over, and the log says so.

        Raises:
            LockedError: If another process, or another run of this one, holds it.
            FileError: If it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(self.path):
                self._refuse_holder()
                own = Holder.this_process()
                write_atomic(self.path, json.dumps(asdict(own)) + "\n")
                self._own = own
        except OSError as error:
            raise unwritable(self.path, error) from error

    def check_free(self) -> None:
        """Raises LockedError if another process holds the lock."""
        if self.path.is_file():
            self._refuse_holder(quietly=True)

    def check_held(self) -> None:
        """Checks that the lock is still this process's.

        Raises:
            FileError: If its file is gone, with the folder it stood in, or is another's by now.
        """
        if self._own is None:
            return
        if not self.path.is_file():
            raise FileError(
                f"{self.what} was deleted or moved while this run wrote to it. Nothing more is "
                "written; put it back and go on from its last checkpoint, or start anew."
            )
        if not self._own.is_same(self._read()):
            raise FileError(
                f"{self.what} was taken over by another run while this one wrote to it "
                f"({self.path}). Nothing more is written. Give each run a folder of its own."
            )

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._own is not None and self._own.is_same(self._read()):
            with suppress(OSError):
                self.path.unlink()
        self._own = None

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _refuse_holder(self, *, quietly: bool = False) -> None:
        if not self.path.exists():
            return
        holder = self._read()
        if holder is not None and holder.may_run():
            raise LockedError(
                f"{self.what} is in use by process {holder.pid} on {holder.host}, since "
                f"{holder.since}. Wait for it, end it, or give another folder (--out). If that "
                f"machine runs it no more, delete {self.path}."
            )
        if quietly:
            return
        whose = "a file that names no process" if holder is None else (
            f"process {holder.pid}, which took it at {holder.since} and is gone"
        )  # fmt: skip
        _log.warning("%s: the lock of an earlier run is taken over (%s)", self.what, whose)

    def _read(self) -> Holder | None:
        """Returns who holds the lock; None if the file is gone, or damaged by a crash."""
        try:
            found = check_json(read_json(self.path, _MAX_BYTES), _SHAPE, str(self.path))
        except FileError:
            return None
        return Holder(**found)


def folder_lock(folder: PathLike) -> Lock:
    """Returns the lock of a run's folder."""
    return Lock(Path(folder) / NAME, str(folder))


def _started(pid: int) -> float | None:
    """Returns the seconds between the start of the machine and of a process, None if it is gone."""
    import psutil  # takes long; commands that hold no lock do without

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time() - psutil.boot_time())
    except psutil.Error:
        return None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Keeps two processes from both finding a lock free, or both taking over the same one.

    The guard stands beside the lock and is only held while that is read and written. Where the
    platform has no such guard the window is a few milliseconds.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
