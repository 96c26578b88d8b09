"""How many architectures the user wants, and what the manager is told so that retries are free."""

from __future__ import annotations

from typing import Any

from nas_plugin.experiment.journal import Journal
from nas_plugin.experiment.manager_api import ManagerApi


class TrialLimit:
    """Keeps the manager's ``maxTrialNumber`` above the trials started, until all is done.

    NNI counts trials; the user's number counts architectures, however often a trial of one had to
    be started again. While work is left the manager's number is one more than what it started, so
    that it neither calls the experiment done nor stops asking; then it is what was started. A
    number that somebody else has set is the user's new wish.

    Args:
        api: The manager.
        journal: Where the numbers are kept for a resumed experiment.
    """

    def __init__(self, api: ManagerApi, journal: Journal) -> None:
        self._api = api
        self._journal = journal
        #: How many architectures the user wants; None is any number.
        self.wanted: int | None = None
        # The last two numbers given to the manager: a crash may come before it has the newer.
        self._ours: list[int] = []
        for event in journal.events:
            if event["event"] == "budget":
                self.wanted = event["wanted"]
                self._ours = [*self._ours[-1:], event["manager"]]

    def read(self) -> None:
        """Takes over what the user has changed."""
        self._take(self._manager_number())

    def keep(self, *, asked: int, jobs: int, done: bool) -> None:
        """Tells the manager how far to go.

        Args:
            asked: Architectures proposed so far.
            jobs: Trials handed out so far, those that the manager has not started yet included:
                it counts a trial when it starts it, and is done at once when its number is reached.
            done: Whether every architecture has its outcome and no trial runs.
        """
        number = self._manager_number()
        self._take(number)
        if self.wanted is None and not done:
            return
        submitted = self._api.submitted()
        target = submitted if done else max(self.wanted or 0, asked, submitted, jobs) + 1
        if target != number and target > 0:
            self._journal.append("budget", wanted=self.wanted, manager=target)
            self._ours = [*self._ours[-1:], target]
            self._api.set_max_trials(target)

    def _manager_number(self) -> int | None:
        number: Any = self._api.profile()["params"].get("maxTrialNumber")
        return None if number is None else int(number)

    def _take(self, number: int | None) -> None:
        if number is not None and number not in self._ours:
            self.wanted = number
            self._journal.append("budget", wanted=number, manager=number)
            self._ours = [*self._ours[-1:], number]
