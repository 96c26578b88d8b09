"""Which architecture belongs to which trial, what is run again, and what the strategy is told.

The journal is the only memory: everything that changes is first an event in it and then applied,
by the same code that applies the old events when an experiment is resumed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nas_plugin.errors import ArchitectureError, ExperimentError
from nas_plugin.experiment.journal import Event, Journal
from nas_plugin.experiment.metrics import MetricError, parse_metrics
from nas_plugin.experiment.outcome import RETRIED, Evidence, judge
from nas_plugin.experiment.proposer import Proposer
from nas_plugin.experiment.snapshot import Snapshot, read_snapshot, write_snapshot
from nas_plugin.experiment.space_format import from_parameters, to_parameters
from nas_plugin.space.search_space import SearchSpace

#: So many trials in a row that end before they ask mean that the script does not work; fewer do
#: where no trial has asked yet.
_MAX_STRAYS, _MAX_FIRST_STRAYS = 20, 3


@dataclass(frozen=True)
class Job:
    """What the manager is to run: one attempt at one proposal."""

    parameter: int
    attempt: int
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """A final result that a trial left on the disk."""

    trial: str
    parameter: int
    attempt: int
    metrics: Mapping[str, Any]
    architecture: Mapping[str, Any] | None


@dataclass
class NniParameter:
    """One proposal of the strategy, under the parameter id that its trials carry."""

    id: int
    proposal: int
    architecture: Mapping[str, Any]
    fidelity: float | None = None
    sends: int = 1
    failures: int = 0
    #: attempt -> trial, of the attempts that are known to run
    running: dict[int, str] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    last_end: Event | None = None
    told: bool = False


class Coordinator:
    """Runs a strategy through a journal.

    Args:
        journal: The experiment's journal; its events are applied first.
        space: The search space.
        strategy: A new strategy, as it was when the journal began.
        retries: How often an architecture is tried again after a failed or killed trial.

    Raises:
        ExperimentError: If the journal's proposals are not those of the strategy.
    """

    def __init__(
        self, journal: Journal, space: SearchSpace, strategy: Proposer, *, retries: int
    ) -> None:
        self._journal = journal
        self._space = space
        self._strategy = strategy
        self._retries = retries
        self.parameters: dict[int, NniParameter] = {}
        #: trial -> (parameter, attempt), from what trials said.
        self.claims: dict[str, tuple[int | None, int]] = {}
        self._results: dict[str, Event] = {}
        self._ended: set[str] = set()
        self._again: deque[int] = deque()
        self._strays = 0
        self._asked_once = False
        #: Whether the strategy has nothing left to propose.
        self.exhausted = False
        self._waits = False
        #: Jobs handed out and trials ended since this object was made.
        self.sent = 0
        self.ended = 0
        self._snapshot = journal.path.with_name("strategy.json")
        self._replay()

    @property
    def asked(self) -> int:
        """The number of architectures that the strategy has proposed."""
        return len(self.parameters)

    @property
    def jobs(self) -> int:
        """The number of trials that were ever handed out or added by hand, in all sessions."""
        by_hand = sum(parameter is None for parameter, _ in self.claims.values())
        return sum(p.sends for p in self.parameters.values()) + by_hand

    @property
    def open(self) -> list[NniParameter]:
        """The proposals whose outcome the strategy does not know yet."""
        return [p for p in self.parameters.values() if not p.told]

    @property
    def living(self) -> int:
        """The number of trials that have been handed out and have not ended."""
        return self.sent - self.ended

    def next_job(self, budget: int | None) -> Job | None:
        """Returns what to run next: first what is tried again, then a new proposal.

        Args:
            budget: How many architectures the user wants; None is any number.
        """
        while self._again:
            parameter = self.parameters[self._again.popleft()]
            if not parameter.told:
                self._record("again", parameter=parameter.id, attempt=parameter.sends)
                return self._job(parameter, parameter.sends - 1)
        may_ask = not (self.exhausted or self._waits)
        if may_ask and (budget is None or self.asked < budget):
            proposal = self._strategy.ask()
            if proposal is None:
                self._record("nothing", exhausted=self._strategy.exhausted)
            else:
                number = len(self.parameters)
                self._record(
                    "ask",
                    parameter=number,
                    proposal=proposal.id,
                    architecture=proposal.architecture.to_json(),
                    fidelity=proposal.fidelity,
                )
                return self._job(self.parameters[number], 0)
        return self._orphan()

    def recovered(self, running: list[tuple[int, int]], kept: Sequence[Kept] = ()) -> None:
        """Takes over after a crash.

        Args:
            running: The attempts that the manager runs again.
            kept: The results that trials left on the disk; those that the tuner has never heard
                of count, unless the trial runs again.
        """
        self.sent += len(running)
        again = {parameter for parameter, _ in running}
        self.claims = {t: claim for t, claim in self.claims.items() if t in self._ended}
        for parameter in self.parameters.values():
            parameter.running.clear()
        for result in kept:
            self._take(result, set(running))
        for parameter in self.open:
            if parameter.id not in again and parameter.id not in self._again:
                self._again.append(parameter.id)

    def _take(self, kept: Kept, running: set[tuple[int, int]]) -> None:
        """Notes a finished trial whose end came while no tuner listened."""
        parameter = self.parameters.get(kept.parameter)
        if parameter is None or parameter.told or kept.trial in self._ended:
            return
        if kept.attempt in parameter.ended or (kept.parameter, kept.attempt) in running:
            return
        self.sent += 1  # by the tuner that died
        self.result(kept.trial, kept.parameter, kept.attempt, kept.metrics, kept.architecture)
        self.end(kept.trial, Evidence("SUCCEEDED"))

    def claim(self, trial: str, parameter: int | None, attempt: int) -> None:
        """Notes which parameters a trial took."""
        if self.claims.get(trial) != (parameter, attempt):
            self._record("claim", trial=trial, parameter=parameter, attempt=attempt)

    def result(
        self,
        trial: str,
        parameter: int | None,
        attempt: int,
        value: Any,
        architecture: Mapping[str, Any] | None,
    ) -> None:
        """Notes the final result that a trial reported, whatever it is."""
        self.claim(trial, parameter, attempt)
        fields: Event = {"trial": trial, "architecture": architecture}
        try:
            fields["metrics"] = parse_metrics(value)
        except MetricError as error:
            fields |= {"refused": error.reason, "message": str(error)}
        self._record("result", **fields)

    def refused(self, trial: str, reason: str, message: str) -> None:
        """Notes that a trial tried to report something that is no result."""
        fields = {"trial": trial, "architecture": None, "refused": reason, "message": message}
        self._record("result", **fields)

    def has_result(self, trial: str) -> bool:
        """Says whether the trial's final result has come."""
        return trial in self._results

    def end(self, trial: str, evidence: Evidence, *, asked: bool = True, words: str = "") -> None:
        """Notes a trial's end, and tries its architecture again or tells the strategy.

        Args:
            trial: The trial's id.
            evidence: What is known of the end.
            asked: Whether the trial asked for its architecture.
            words: The last lines that it wrote to its standard error.

        Raises:
            ExperimentError: If the trials end before they ask, so that the script cannot work.
        """
        self._end(trial, evidence, asked)
        self._check_strays(words)

    def _end(self, trial: str, evidence: Evidence, asked: bool) -> None:
        claimed, attempt = self.claims.get(trial, (None, 0))
        if trial in self.claims and claimed is None:
            # Added by hand in the portal: kept in the journal, unknown to the strategy.
            verdict_fields = self._verdict(trial, evidence, {})
            self._record("end", trial=trial, parameter=None, attempt=0, **verdict_fields)
            return
        self.ended += 1
        if trial in self._ended:  # known from before a crash, and run once more by the manager
            return
        parameter = self.parameters.get(claimed) if claimed is not None else None
        if parameter is None:
            verdict = judge(evidence, {})
            self._record("stray", trial=trial, outcome=verdict.outcome, message=verdict.message)
            return
        verdict_fields = self._verdict(trial, evidence, parameter.architecture)
        if parameter.told or attempt in parameter.ended:
            del verdict_fields["outcome"]  # the first copy's counts
            copy: Event = {"parameter": claimed, "attempt": attempt, **verdict_fields}
            self._record("repeat", trial=trial, **copy)
            return
        fields: Event = {} if asked else {"asked": False}
        fields |= {"parameter": parameter.id, "attempt": attempt, **verdict_fields}
        self._record("end", trial=trial, **fields)
        self._settle(parameter, verdict_fields)

    def _check_strays(self, words: str) -> None:
        limit = _MAX_STRAYS if self._asked_once else _MAX_FIRST_STRAYS
        if self._strays < limit:
            return
        said = f" The last one wrote:\n{words}" if words else ""
        raise ExperimentError(
            f"{self._strays} trials in a row ended before they asked for an architecture: run "
            f"trialCommand by hand and mend it.{said}"
        )

    def save(self) -> None:
        """Keeps the strategy's state, so that resuming is quick."""
        state = self._strategy.state_dict()
        if state is None:
            return
        write_snapshot(self._snapshot, Snapshot(len(self._journal.events), state))

    def _settle(self, parameter: NniParameter, verdict: Mapping[str, Any]) -> None:
        outcome = verdict["outcome"]
        if outcome in RETRIED and parameter.failures <= self._retries:
            self._again.append(parameter.id)
        elif outcome == "succeeded":
            self._record("tell", parameter=parameter.id, metrics=verdict["metrics"])
        else:
            self._record("tell", parameter=parameter.id, failure=verdict["message"] or outcome)

    def _orphan(self) -> Job | None:
        """Returns a proposal that no living trial can still take, to be handed out again.

        Where the manager is not guarded, trials take parameters in the order in which they ask, so
        one that dies before asking leaves the last ones without a trial. A second copy is right in
        every case: the queue is first in, first out, and what remains unread at the end is a copy.
        """
        waiting = [p for p in self.open if not p.running]
        unclaimed = self.living - sum(len(p.running) for p in self.parameters.values())
        if len(waiting) <= max(0, unclaimed):
            return None
        parameter = min(waiting, key=lambda p: p.sends)
        self._record("again", parameter=parameter.id, attempt=parameter.sends)
        return self._job(parameter, parameter.sends - 1)

    def _verdict(
        self, trial: str, evidence: Evidence, proposed: Mapping[str, Any]
    ) -> dict[str, Any]:
        result = self._results.get(trial, {})
        found = {name: result[name] for name in ("metrics", "refused", "message") if name in result}
        stated = self._canonical(result.get("architecture"))
        known = asdict(evidence) | {"architecture": stated}
        known |= {name: value for name, value in found.items() if value}
        return asdict(judge(Evidence(**known), proposed)) | {
            "architecture": stated,
            "status": evidence.status,
        }

    def _canonical(self, stated: Any) -> Any:
        if not isinstance(stated, Mapping):
            return None
        try:
            return from_parameters(stated, self._space).to_json()
        except ArchitectureError:
            return dict(stated)

    def _job(self, parameter: NniParameter, attempt: int) -> Job:
        self.sent += 1
        architecture = self._space.architecture(parameter.architecture)
        return Job(parameter.id, attempt, to_parameters(architecture, parameter.fidelity))

    def _record(self, event: str, **fields: Any) -> None:
        entry = self._journal.append(event, **fields)
        if event == "tell":
            self._tell(entry)
        self._apply(entry)

    def _replay(self) -> None:
        """Applies the journal's events; the strategy learns those after its snapshot."""
        events = self._journal.events
        snapshot = read_snapshot(self._snapshot, len(events))
        known = 0
        if snapshot is not None:
            self._strategy.load_state_dict(snapshot.state)
            known = snapshot.events
        for event in events:
            if event["n"] >= known and event["event"] in ("ask", "nothing"):
                self._ask_again(event)
            if event["n"] >= known and event["event"] == "tell":
                self._tell(event)
            self._apply(event)
        for parameter in self.open:  # a crash came between the end and what follows from it
            last = parameter.last_end
            if last is not None and last["attempt"] == parameter.sends - 1:
                self._settle(parameter, last)

    def _apply(self, event: Event) -> None:
        kind, trial = event["event"], event.get("trial")
        number = event.get("parameter")
        if kind == "ask":
            self.parameters[event["parameter"]] = NniParameter(
                event["parameter"], event["proposal"], event["architecture"], event["fidelity"]
            )
        elif kind == "again":
            self.parameters[event["parameter"]].sends += 1
        elif kind == "claim":
            self.claims[event["trial"]] = (number, event["attempt"])
            if number in self.parameters:
                self.parameters[number].running[event["attempt"]] = event["trial"]
        elif kind == "result":
            self._results[event["trial"]] = event
        elif kind in ("end", "stray", "repeat"):
            self._ended.add(str(trial))
            is_stray = kind == "stray" or event.get("asked") is False
            self._strays = self._strays + 1 if is_stray else 0
            self._asked_once = self._asked_once or not is_stray
            if number in self.parameters:
                self.parameters[number].running.pop(event["attempt"], None)
                self.parameters[number].ended.add(event["attempt"])
                if kind == "end":
                    self.parameters[number].last_end = event
                self.parameters[number].failures += event.get("outcome") in RETRIED
        elif kind == "nothing":
            self._waits, self.exhausted = True, event["exhausted"]
        elif kind == "tell":
            self.parameters[event["parameter"]].told = True
            self._waits = False

    def _tell(self, event: Event) -> None:
        proposal = self.parameters[event["parameter"]].proposal
        self._strategy.tell(proposal, event.get("metrics"), event.get("failure", ""))

    def _ask_again(self, event: Event) -> None:
        proposal = self._strategy.ask()
        found = None if proposal is None else proposal.architecture.to_json()
        if found != event.get("architecture"):
            raise ExperimentError(
                f"{self._journal.path}, event {event['n']}: the strategy proposes another "
                "architecture than it did then. The experiment can only be resumed with the "
                "strategy, options, seed and version that it was created with."
            )
