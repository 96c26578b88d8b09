"""One run a folder: locks of living, dead and foreign processes."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nas_plugin.errors import FileError, LockedError
from nas_plugin.files import folder_lock
from nas_plugin.files.lock import NAME


def record(pid: int, *, moved: float = 0.0, host: str | None = None) -> str:
    """Returns what a process writes, from psutil alone; `moved` is another's start time."""
    started = psutil.Process(pid).create_time() - psutil.boot_time() + moved
    holder = {"pid": pid, "host": host or socket.gethostname(), "started": started}
    return json.dumps({**holder, "since": "2026-01-01 00:00:00"})


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_the_lock_names_this_process_while_it_is_held(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "run"):
        held = json.loads((tmp_path / "run" / NAME).read_text())
    own = json.loads(record(os.getpid()))

    assert (held["pid"], held["host"]) == (own["pid"], own["host"])
    assert held["started"] == pytest.approx(own["started"], abs=0.02)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_living_process_keeps_others_out(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    (tmp_path / NAME).write_text(record(sleeper.pid))

    with pytest.raises(LockedError, match=f"in use by process {sleeper.pid} .*--out"):
        folder_lock(tmp_path).acquire()
    with pytest.raises(LockedError):
        folder_lock(tmp_path).check_free()
    assert json.loads((tmp_path / NAME).read_text())["pid"] == sleeper.pid


def test_this_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(LockedError):
        folder_lock(tmp_path).acquire()
    with folder_lock(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["dead", "number used again", "damaged"])
def test_a_stale_lock_is_taken_over_and_said(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    text = record(sleeper.pid, moved=-3.0 if kind == "number used again" else 0.0)
    (tmp_path / NAME).write_text(text[:20] if kind == "damaged" else text)
    if kind == "dead":
        sleeper.kill()
        sleeper.wait()

    with caplog.at_level(logging.WARNING), folder_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()

    assert "taken over" in caplog.text
    assert kind == "damaged" or f"process {sleeper.pid}" in caplog.text


def test_a_process_that_nobody_waited_for_is_dead(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    (tmp_path / NAME).write_text(record(sleeper.pid))
    sleeper.kill()
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE:
        pass

    with folder_lock(tmp_path):
        pass


def test_another_machine_is_believed(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(record(os.getpid(), moved=5.0, host="elsewhere"))

    with pytest.raises(LockedError, match=r"on elsewhere.*delete"):
        folder_lock(tmp_path).acquire()


def test_a_folder_that_is_gone_or_anothers_is_noticed(tmp_path: Path) -> None:
    lock = folder_lock(tmp_path / "run")
    lock.acquire()
    lock.check_held()
    (tmp_path / "run" / NAME).write_text(record(os.getpid(), host="elsewhere"))
    with pytest.raises(FileError, match="taken over"):
        lock.check_held()
    (tmp_path / "run" / NAME).unlink()
    (tmp_path / "run").rmdir()
    with pytest.raises(FileError, match="deleted or moved"):
        lock.check_held()
    lock.release()
    assert not (tmp_path / "run").exists()


def test_a_lock_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FileError, match="cannot be written"):
        folder_lock(tmp_path / "file").acquire()


@pytest.mark.processes
def test_of_many_processes_one_gets_a_stale_lock(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    text = record(dead.pid)
    dead.wait()
    (tmp_path / NAME).write_text(text)
    code = (
        "import sys, time\n"
        "from nas_plugin.files import folder_lock\n"
        "from nas_plugin.errors import LockedError\n"
        "lock = folder_lock(sys.argv[1])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try:\n    lock.acquire(); print('mine', flush=True)\n"
        "except LockedError:\n    print('not', flush=True)\n"
        "sys.stdin.readline()"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(6)
    ]  # fmt: skip
    try:
        for racer in racers:
            assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    finally:
        for racer in racers:
            racer.communicate("\n")

    assert sorted(said) == ["mine"] + ["not"] * 5
