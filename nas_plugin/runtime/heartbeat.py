"""Notices a rank that stands still, for which the others would wait for ever."""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

MINIMUM_SECONDS = 60.0
STEPS = 10
_INTERVAL = 1.0
_LEFT = "left"


class Store(Protocol):
    """What processes share: torch's store, or a dictionary in a test."""

    def set(self, key: str, value: str) -> None: ...

    def check(self, keys: list[str]) -> bool: ...

    def get(self, key: str) -> bytes: ...


class Heartbeat:
    """A thread that shows the other ranks that this one runs, and ends it when another does not.

    A process that was stopped (SIGSTOP), or whose machine is gone, shows nothing any more. After
    `timeout` seconds every rank that is alive says which one is missing and ends; torchrun then
    reaps the rest within its own 30 s. A collective operation cannot be broken off from Python, so
    the process ends at once, without unwinding; checkpoints are whole at any time.

    Args:
        store: What the ranks share.
        rank: This process.
        world_size: How many there are.

    Attributes:
        limit: Seconds without a sign of a rank; None measures: 10 times the slowest step of any
            rank, at least 60.
        step: Steps that this rank has done.
        slowest: Seconds of its slowest step.
    """

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self.limit: float | None = None
        self.step, self.slowest = 0, 0.0
        self._store, self._rank, self._world_size = store, rank, world_size
        self._others_slowest = 0.0
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nas_plugin heartbeat", daemon=True)

    @property
    def timeout(self) -> float:
        """Seconds without a sign of a rank after which it is missing."""
        if self.limit is not None:
            return self.limit
        return max(MINIMUM_SECONDS, STEPS * max(self.slowest, self._others_slowest))

    def start(self) -> None:
        """Begins to show this process and to watch the others."""
        self._thread.start()

    def note(self, step: int, seconds: float) -> None:
        """Notes a step that this rank has done."""
        self.step, self.slowest = step, max(self.slowest, seconds)

    def leave(self) -> None:
        """Tells the others that this process ends as it should."""
        self._ended.set()
        self._thread.join(timeout=2 * _INTERVAL)
        try:
            self._store.set(self._key(self._rank), _LEFT)
        except Exception:  # torch raises many kinds where the store is gone: so are the others
            return

    def _run(self) -> None:
        now = time.monotonic()
        seen = {r: ("", now) for r in range(self._world_size) if r != self._rank}
        before = now
        while not self._ended.wait(self._interval()):
            now = time.monotonic()
            # Was it this process that stood still (Ctrl-Z), the others get their time anew.
            paused, before = now - before > 3 * self._interval() + 1.0, now
            try:
                self._beats += 1
                self._store.set(self._key(self._rank), f"{self._beats} {self.step} {self.slowest}")
                for rank, (word, _) in list(seen.items()):
                    found = self._word(rank)
                    if found == _LEFT:
                        del seen[rank]
                    elif found != word or paused:
                        seen[rank] = found, now
            except Exception:  # the store went with the run that it belonged to
                return
            slow = [float(word.split()[2]) for word, _ in seen.values() if word]
            self._others_slowest = max([self._others_slowest, *slow])
            missing = {r: (w, now - at) for r, (w, at) in seen.items() if now - at > self.timeout}
            if missing and not self._ended.is_set():
                self._end(missing)

    def _word(self, rank: int) -> str:
        key = self._key(rank)
        return self._store.get(key).decode() if self._store.check([key]) else ""

    def _end(self, missing: dict[int, tuple[str, float]]) -> None:
        who = ", ".join(
            f"rank {rank} (after step {word.split()[1] if word else 0}, silent for {gone:.0f} s)"
            for rank, (word, gone) in missing.items()
        )
        print_and_exit(
            f"error: rank {self._rank} of {self._world_size} ends at step {self.step}, because it "
            f"has lost {who}: stopped, hung, or its machine is gone. The limit is "
            f"{self.timeout:.0f} s (rank_timeout; by default {STEPS} times the slowest step, at "
            f"least {MINIMUM_SECONDS:.0f} s). Go on from the last checkpoint with resume."
        )

    def _interval(self) -> float:
        return min(_INTERVAL, self.timeout / 4)

    @staticmethod
    def _key(rank: int) -> str:
        return f"nas_plugin/heartbeat/{rank}"


def print_and_exit(message: str) -> None:
    """Ends the process from any thread, whatever the others are waiting for."""
    os.write(2, f"{message}\n".encode())
    os._exit(1)
