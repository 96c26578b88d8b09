"""The log of a search: every proposal and every outcome, one JSON line each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError, StrategyError
from nas_plugin.files import Lock, append_line, parse_json, read_text
from nas_plugin.files.shape import Is, check_json
from nas_plugin.files.write import unwritable
from nas_plugin.strategies.proposal import Outcome, Proposal
from nas_plugin.strategies.strategy import Strategy

_FORMAT = "nas_plugin.search/1"
_MAX_BYTES = 2**30
_KINDS = ("begin", "ask", "tell")
_EVENT = {"event": Is(f"one of {', '.join(_KINDS)}", lambda v: v in _KINDS)}


class SearchLog:
    """Remembers a search on disk and replays it into a fresh strategy.

    Args:
        path: The file; made if it is missing.
        strategy: As it was when the search began.

    Raises:
        FileError: If the file is no log of a search.
        StrategyError: If it is the log of another search.
    """

    def __init__(self, path: str | os.PathLike[str], strategy: Strategy) -> None:
        self.path = Path(path)
        self._strategy = strategy
        #: Held while the search runs: two in one log would mix their proposals.
        self.lock = Lock(self.path.with_name(f".{self.path.name}.lock"), str(self.path))
        self._begin = {
            "event": "begin",
            "format": _FORMAT,
            "strategy": strategy.name,
            "objective": strategy.objective,
            "goal": strategy.goal,
            "space": strategy.space.to_json(),
        }

    def replay(self) -> list[Outcome]:
        """Asks and tells the strategy what the log holds; begins the log if there is none.

        Returns:
            The outcomes that were told, in order.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            append_line(self.path, _line(self._begin))
            return []
        events = list(self._events())
        if not events or events[0] != self._begin:
            found = events[0].get("strategy") if events else None
            raise StrategyError(
                f"{self.path} is the log of another search (strategy {found!r}, here "
                f"'{self._strategy.name}'; objective and space must agree too). "
                "Give another file, or make the strategy as it was."
            )
        outcomes = []
        for event in events[1:]:
            if event["event"] == "ask":
                proposal = self._strategy.ask()
                if proposal.to_json() != event.get("proposal"):
                    raise StrategyError(
                        f"{self.path}: proposal {proposal.id} of the log is not what the strategy "
                        "proposes. Its seed, options and constraint must be those of the log."
                    )
            else:
                outcome = self._outcome(event)
                self._strategy.tell(event["id"], outcome)
                outcomes.append(outcome)
        return outcomes

    def _outcome(self, event: dict[str, Any]) -> Outcome:
        try:
            if type(event["id"]) is not int:
                raise TypeError("'id' is no whole number")
            return Outcome.from_json(event["outcome"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileError(
                f"{self.path}: an event 'tell' is damaged ({error}). Restore the file, or begin "
                "the search anew with another one."
            ) from error

    def asked(self, proposal: Proposal) -> None:
        """Notes a proposal before it is evaluated."""
        self._append({"event": "ask", "proposal": proposal.to_json()})

    def told(self, proposal: Proposal, outcome: Outcome) -> None:
        """Notes an outcome before the strategy is told."""
        self._append({"event": "tell", "id": proposal.id, "outcome": outcome.to_json()})

    def _append(self, event: dict[str, Any]) -> None:
        if not self.path.is_file():
            raise FileError(
                f"The log {self.path} was deleted while the search wrote to it. Put it back and "
                "run the same command again, which goes on from it, or begin with another one."
            )
        append_line(self.path, _line(event))

    def _events(self) -> Iterator[dict[str, Any]]:
        text = read_text(self.path, max_bytes=_MAX_BYTES)
        lines = text.split("\n")
        if lines[-1]:
            # A crash cut the last line off; what it said had not happened yet.
            whole = len(text.encode()) - len(lines[-1].encode())
            try:
                os.truncate(self.path, whole)
            except OSError as error:
                raise unwritable(self.path, error) from error
        for number, line in enumerate(lines[:-1], 1):
            event = parse_json(line, f"{self.path}, line {number}")
            yield check_json(event, _EVENT, f"{self.path}, line {number}", extra=True)


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, sort_keys=True)
