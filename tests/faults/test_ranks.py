"""Ranks of torchrun that are stopped, and a resume of several ranks inside an epoch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas_plugin.reporting import read_jsonl
from nas_plugin.runtime.heartbeat import Heartbeat

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc of Linux"),
]


def torchrun(out: Path, *flags: str) -> subprocess.Popen[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port",
        str(port), str(Path(__file__).parent / "rank_run.py"), str(out), *flags,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def where(out: Path, rank: int) -> tuple[int, int]:
    """Returns the process and the step of a rank; zeros before its first step."""
    path = out / f"rank_{rank}"
    words = path.read_text().split() if path.exists() else []
    return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)


def wait_for(condition, seconds: float, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "reaped", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["named", "reaped"]
)
def test_a_rank_that_stands_still_ends_the_others(tmp_path: Path, reaped: bool) -> None:
    process = torchrun(tmp_path, "--pause", "0.2", "--limit", "4")
    stopped = 0
    try:
        wait_for(lambda: where(tmp_path, 1)[1] >= 2, 200, process)
        stopped, living = where(tmp_path, 1)[0], where(tmp_path, 0)[0]
        began = time.monotonic()
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: not alive(living), 60, process)
        if not reaped:
            os.kill(stopped, signal.SIGCONT)
        _, said = process.communicate(timeout=120)
        took = time.monotonic() - began
    finally:
        for pid in {stopped, process.pid} - {0}:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)

    assert process.returncode != 0
    assert "rank 0 of 2 ends" in said and "it has lost rank 1 (after step" in said, said[-3000:]
    assert not alive(stopped)
    print(f"ended after {took:.1f} s")


def test_a_resume_inside_an_epoch_gives_every_rank_its_own_means(tmp_path: Path) -> None:
    for name, flags in (("whole", ()), ("broken", ("--stop-at", "2"))):
        process = torchrun(tmp_path / name, *flags)
        _, said = process.communicate(timeout=300)
        assert (process.returncode == 0) == (name == "whole"), said[-3000:]
    process = torchrun(tmp_path / "broken", "--resume")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]

    whole, broken = (
        [{k: v for k, v in r.items() if k != "time"} for r in read_jsonl(tmp_path / n)]
        for n in ("whole/search.jsonl", "broken/search.jsonl")
    )
    assert broken == whole


class Shared(dict):
    """A store in one process."""

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)

    def get(self, key: str) -> bytes:
        return self[key]


def test_the_limit_is_ten_times_the_slowest_step_and_at_least_a_minute() -> None:
    beat = Heartbeat(Shared(), 0, 2)
    assert beat.timeout == 60
    beat.note(1, 7.5)
    beat.note(2, 1.0)
    assert beat.timeout == 75
    beat.limit = 3.0
    assert beat.timeout == 3


def test_a_rank_that_left_or_still_beats_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[str] = []
    monkeypatch.setattr("nas_plugin.runtime.heartbeat.print_and_exit", lost.append)
    store = Shared()
    beats = [Heartbeat(store, rank, 3) for rank in range(3)]
    for beat in beats:
        beat.limit = 0.8
        beat.start()
    time.sleep(0.5)
    beats[2].leave()
    time.sleep(2.0)
    assert lost == []
    beats[1]._ended.set()  # as a process that was stopped: it says nothing any more
    time.sleep(2.5)
    assert lost and all("lost rank 1" in said and "rank 2" not in said for said in lost)
    beats[0].leave()
