"""Watching an experiment to its end: what died, what stands still, and what is done about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from nas_plugin.errors import ExperimentError
from nas_plugin.experiment.guard import UNSURE_ROWS
from nas_plugin.experiment.journal import journal_path, read_journal
from nas_plugin.experiment.launch import Adopt, Portal, Running, resume, stop_manager
from nas_plugin.experiment.local_evidence import LocalEvidence
from nas_plugin.experiment.manager_api import ManagerGoneError
from nas_plugin.experiment.processes import dispatcher_alive
from nas_plugin.files import open_bounded, parse_json, read_lines

Trouble = Literal["manager", "dispatcher", "idle", "error"]
_POLL = 1.0
_LOOK = 3.0
_TAIL = 10_000
_FAILURES_TOLD = 5
_MAX_LINE = 16 * 2**20
_MAX_LOG = 2**40  # of which the end is read
#: NNI's words when the tuner's process needs long, and how often it may.
_TOO_SLOW = "did not connect in 10 seconds"
_SLOW_STARTS = 3
_WORKING = ("RUNNING", "NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL")
_FINISHED = ("DONE", "STOPPED")


@dataclass(frozen=True)
class Patience:
    """How much trouble is borne.

    Args:
        restarts: How often the experiment is resumed; 0 only reports.
        idle: Seconds without a running trial and without an end after which it stands still.
    """

    restarts: int = 0
    idle: float = 120.0


class Supervisor:
    """Watches one experiment.

    Args:
        running: The experiment's manager.
        patience: How much trouble is borne.
        portal: Where the portal listens; after a restart on another port.
        say: Takes a line for the user.
        adopt: Takes the manager of each restart as soon as it runs.
    """

    def __init__(
        self,
        running: Running,
        *,
        patience: Patience,
        portal: Portal,
        say: Callable[[str], None],
        adopt: Adopt | None = None,
    ) -> None:
        self.running = running
        self._patience = patience
        self._portal = portal
        self._say = say
        self._adopt = adopt
        self._restarts = 0
        self._slow_starts = 0
        self._changed = time.monotonic()
        self._next_look = self._changed + _LOOK
        self._seen: dict[str, int] = {}
        self._heard = 0
        self._told = 0
        self._told_unsure = False

    def watch(self) -> bool:
        """Returns True when the experiment is done, False when somebody has stopped it.

        Raises:
            ExperimentError: If it cannot continue; the message is the cause.
        """
        while True:
            time.sleep(_POLL)
            self._tell_news()
            try:
                status, errors = self.running.api.status()
            except ManagerGoneError:
                status, errors = "", []
            if status in _FINISHED:
                return True
            if self.running.stopped:
                return False
            trouble = self._trouble(status)
            if trouble is not None:
                self._handle(trouble, errors)

    def stop(self) -> None:
        """Ends the manager and all that belongs to the experiment."""
        stop_manager(self.running)

    def _tell_news(self) -> None:
        """Says of the first trials that do not succeed what became of them, as soon as it is known.

        Before that, it says if the portal's rows are not to be trusted.

        The journal is read on from where it was read to; `show` lists all of them at the end.
        """
        path = journal_path(self.running.folder)
        if self._told >= _FAILURES_TOLD or not path.is_file():
            return
        for _, line in read_lines(path, _MAX_LOG, _MAX_LINE, start=self._heard):
            if not line.endswith(b"\n"):
                break
            self._heard += len(line)
            event = parse_json(line.decode(errors="replace"), str(path))
            if event.get("event") == "session" and event.get("rows_exact") is False:
                if not self._told_unsure:
                    self._say(UNSURE_ROWS)
                self._told_unsure = True
            outcome = event.get("outcome", "succeeded")
            if event.get("event") in ("end", "stray") and outcome != "succeeded":
                self._told += 1
                more = (
                    " Further ones are listed at the end." if self._told == _FAILURES_TOLD else ""
                )
                trial = str(event.get("trial"))
                self._say(f"trial {trial} {outcome}: {event.get('message')}{more}")
                for words in LocalEvidence(self.running.folder).last_words(trial).splitlines():
                    self._say(f"    {words}")
                if more:
                    return

    def _trouble(self, status: str) -> Trouble | None:
        if not self.running.alive:
            return "manager"
        if status == "ERROR":
            return "error"
        now = time.monotonic()
        if now < self._next_look or status not in _WORKING:
            return None
        self._next_look = now + _LOOK
        if not dispatcher_alive(self.running.id, self.running.folder):
            return "dispatcher"
        counts = self.running.api.counts()
        if counts != self._seen or counts.get("RUNNING") or counts.get("WAITING"):
            self._seen, self._changed = counts, now
        return "idle" if now - self._changed > self._patience.idle else None

    def _handle(self, trouble: Trouble, errors: list[str]) -> None:
        mistake = tuner_mistake(self.running)
        what = {
            "manager": "The manager has died.",
            "dispatcher": "The tuner's process has died.",
            "idle": f"No trial has run for {self._patience.idle:g} s.",
            "error": "NNI reports an error: " + ("; ".join(errors) or "no text given") + ".",
        }[trouble]
        if mistake is not None:
            # The same tuner would make it again.
            self.stop()
            raise ExperimentError(f"The tuner has failed: {mistake}")
        if any(_TOO_SLOW in error for error in errors) and self._slow_starts < _SLOW_STARTS:
            self._slow_starts += 1
            self._go_on("NNI gave the tuner ten seconds to start; this machine is busy. Again.")
            return
        if self._restarts >= self._patience.restarts:
            self.stop()
            said = last_words(self.running)
            words = f" Its last words: {said}." if said else ""
            raise ExperimentError(
                f"{what}{words} The journal is whole; continue with: nas-plugin experiment resume "
                f"{self.running.id}   (logs: {self.running.folder / 'log'})"
            )
        self._restarts += 1
        self._go_on(f"{what} Resuming ({self._restarts} of {self._patience.restarts}).")

    def _go_on(self, why: str) -> None:
        self._say(why)
        self.stop()
        portal = Portal(None, self._portal.listen, self._portal.hosts)
        self.running = resume(self.running.id, portal, self._adopt)
        self._changed, self._seen = time.monotonic(), {}
        self._say(f"The portal is now at {self.running.url}")


def tuner_mistake(running: Running) -> str | None:
    """Returns the text of the tuner's own error since this manager was started."""
    path = journal_path(running.folder)
    mistake = None
    if path.is_file():
        for event in read_journal(path):
            if event["event"] == "error" and event["time"] >= running.began:
                mistake = event["message"]
    return mistake


def last_words(running: Running) -> str:
    """Returns the last line that the tuner's process wrote since this manager was started."""
    path = running.folder / "log" / "dispatcher.log"
    if not path.is_file():
        return ""
    with open_bounded(path, _MAX_LOG) as log:
        log.seek(max(running.log_size, path.stat().st_size - _TAIL))
        lines = log.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
