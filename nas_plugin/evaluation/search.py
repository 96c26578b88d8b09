"""The driver: a strategy proposes, an evaluator answers, a log remembers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

from nas_plugin.errors import StrategyError
from nas_plugin.evaluation.budget import Budget
from nas_plugin.evaluation.evaluator import Evaluator, InlineWorker, Workers
from nas_plugin.evaluation.log import SearchLog
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.proposal import (
    Exhausted,
    InfeasibleError,
    Outcome,
    Proposal,
    Trial,
    Waiting,
)
from nas_plugin.strategies.strategy import Strategy

#: A search whose first evaluations all fail has a mistake in its set-up.
FAILURES_THAT_END = 10


@dataclass(frozen=True)
class SearchResult:
    """What a search has found.

    Args:
        history: The trials that were told, in the order of asking.
        best: The best success, None if there is none.
        front: What no other success dominates; the best alone for a single objective.
        seconds: Wall-clock seconds of this run.
        simulated_seconds: The sum of what the evaluator charged; None if it did not.
        stopped: Why the search ended: ``trials``, ``seconds``, ``simulated_seconds``,
            ``exhausted``, or ``infeasible`` where nothing more was found that the constraint
            allows.
    """

    history: list[Trial]
    best: Trial | None
    front: list[Trial]
    seconds: float
    simulated_seconds: float | None
    stopped: str


def search(
    space: SearchSpace,
    strategy: Strategy,
    evaluator: Evaluator | Workers,
    budget: Budget,
    *,
    log: str | os.PathLike[str] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> SearchResult:
    """Runs a strategy on an evaluator until the budget is used up.

    With a log, a search that was interrupted goes on where it was: the log is replayed into the
    strategy, which must be made as it was, and what was under way is evaluated again.

    Args:
        space: The search space; must be the strategy's.
        strategy: What proposes; new, also when a log is resumed.
        evaluator: What answers: one proposal at a time, or several.
        budget: When to stop.
        log: A file of JSON lines; continued if it exists.
        on_trial: Called after every trial that was told.

    Raises:
        LockedError: If another search writes the log.
        StrategyError: If the strategy is not new or belongs to another space, or the first
            evaluations all fail.
    """
    if space != strategy.space:
        raise StrategyError("The strategy was made for another search space than the one given.")
    if strategy.trials:
        raise StrategyError("The strategy has proposed before; search() needs a new one.")
    workers = evaluator if isinstance(evaluator, Workers) else InlineWorker(evaluator)
    kept = None if log is None else SearchLog(log, strategy)
    run = _Run(strategy, workers, budget, kept)
    run.on_trial = on_trial
    try:
        with nullcontext() if kept is None else kept.lock:
            stopped = run.run()
    finally:
        workers.close()
    return SearchResult(
        history=[trial for trial in strategy.trials.values() if trial.outcome is not None],
        best=strategy.best,
        front=strategy.front(),
        seconds=time.monotonic() - run.began,
        simulated_seconds=run.simulated,
        stopped=stopped,
    )


class _Run:
    """The state of one search."""

    def __init__(
        self, strategy: Strategy, workers: Workers, budget: Budget, log: SearchLog | None
    ) -> None:
        self.strategy, self.workers, self.budget, self.log = strategy, workers, budget, log
        self.on_trial: Callable[[Trial], None] | None = None
        self.began = time.monotonic()
        self.simulated: float | None = None
        #: What a log holds as under way; evaluated again before anything new is.
        self.begun_before: list[Proposal] = []
        self.under_way = 0
        self.failures = 0

    def run(self) -> str:
        """Runs until the budget is used up and returns what ended the search."""
        if self.log is not None:
            self._charge(outcome.seconds for outcome in self.log.replay())
            self.begun_before = self.strategy.open
        stopped = ""
        while True:
            while not stopped and self.under_way < self.workers.slots:
                stopped = self._begin_one()
                if stopped == "waiting":
                    stopped = ""
                    break
            if not self.under_way:
                return stopped
            for proposal, outcome in self.workers.collect():
                self.under_way -= 1
                if self._would_exceed(outcome):
                    stopped = "simulated_seconds"
                elif stopped != "simulated_seconds":
                    self._tell(proposal.id, outcome)
            if stopped == "simulated_seconds":
                return stopped

    def _begin_one(self) -> str:
        """Begins one evaluation; returns why it could not, else nothing."""
        if self.begun_before:
            self._submit(self.begun_before.pop(0))
            return ""
        spent = self._spent()
        if spent:
            return spent
        try:
            proposal = self.strategy.ask()
        except Waiting:
            if not self.under_way:
                raise
            return "waiting"
        except Exhausted:
            return "exhausted"
        except InfeasibleError:
            if not self.strategy.results:
                raise
            return "infeasible"
        if self.log is not None:
            self.log.asked(proposal)
        self._submit(proposal)
        return ""

    def _submit(self, proposal: Proposal) -> None:
        self.workers.submit(proposal)
        self.under_way += 1

    def _tell(self, proposal_id: int, outcome: Outcome) -> None:
        trial = self.strategy.trials[proposal_id]
        if self.log is not None:
            self.log.told(trial.proposal, outcome)
        self.strategy.tell(proposal_id, outcome)
        self._charge([outcome.seconds])
        if self.on_trial is not None:
            self.on_trial(trial)
        self.failures = 0 if self.strategy.results else self.failures + 1
        if self.failures >= FAILURES_THAT_END and trial.outcome is not None:
            raise StrategyError(
                f"The first {self.failures} evaluations have all failed. The last one: "
                f"{trial.outcome.failure}"
            )

    def _spent(self) -> str:
        budget = self.budget
        if budget.trials is not None and len(self.strategy.trials) >= budget.trials:
            return "trials"
        if budget.seconds is not None and time.monotonic() - self.began >= budget.seconds:
            return "seconds"
        limit = budget.simulated_seconds
        if limit is not None and self.simulated is not None and self.simulated >= limit:
            return "simulated_seconds"
        return ""

    def _would_exceed(self, outcome: Outcome) -> bool:
        if self.budget.simulated_seconds is None:
            return False
        if outcome.seconds is None:
            raise StrategyError(
                "The budget is in simulated seconds, but the evaluator does not say what an "
                "evaluation costs. Give the budget in trials or seconds."
            )
        return (self.simulated or 0.0) + outcome.seconds > self.budget.simulated_seconds

    def _charge(self, seconds: Iterable[float | None]) -> None:
        for spent in seconds:
            if spent is not None:
                self.simulated = (self.simulated or 0.0) + spent
