"""The base of all strategies: what they share is handled here, once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from random import Random
from typing import Any, ClassVar, Literal

from nas_plugin.errors import OptionError, StrategyError
from nas_plugin.parameters import Spelled
from nas_plugin.registry import Registry
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.legal import Constraint, LegalDraws, Sampler, sampler_of
from nas_plugin.strategies.proposal import Outcome, Proposal, Trial, by_rank

#: The classes, by name.
strategies: Registry[type[Strategy]] = Registry(
    "strategy", package="nas_plugin.strategies", group="nas_plugin.strategies"
)

_FORMAT = "nas_plugin.strategy/1"


class Strategy(metaclass=Spelled):
    """Proposes architectures and learns from what is told about them.

    Any number of proposals may be open, and they may be told in any order. A subclass says which
    architecture comes next (`suggest`) and, if it needs to, what it learns (`observe`); warm
    starts, constraints, repeats, failures and the state are taken care of.

    Args:
        space: The search space; all that a strategy knows about the problem.
        seed: Of everything random.
        objective: The metric that is optimised.
        goal: ``max`` or ``min``.
        constraint: Says whether an architecture may be proposed; None allows all.
        repeats: Whether an architecture may be proposed again.
        warm_start: Architectures that are proposed first.
        sampling: How random architectures are drawn: ``uniform`` makes all equally likely,
            ``per_choice`` the values of each choice, which favours architectures of few choices;
            or a function, such as a table's `Benchmark.sample`, from a generator to one.

    Raises:
        OptionError: If an option is not allowed.
        ArchitectureError: If a warm start does not fit the space.
        StrategyError: If the constraint refuses a warm start.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls, *, name: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if name:
            cls.name = name
            strategies.add(name, cls)

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        objective: str = "default",
        goal: Literal["max", "min"] = "max",
        constraint: Constraint | None = None,
        repeats: bool = False,
        warm_start: Iterable[Mapping[str, Any]] = (),
        sampling: str | Sampler = "uniform",
    ) -> None:
        if goal not in ("max", "min"):
            raise OptionError(f"goal must be 'max' or 'min', got {goal!r}.")
        self.space = space
        self.objective = objective
        self.goal = goal
        self.repeats = repeats
        self.rng = Random(seed)
        #: Every proposal by its id, in the order of asking.
        self.trials: dict[int, Trial] = {}
        #: The trials that succeeded, in the order of telling.
        self.results: list[Trial] = []
        self._legal = LegalDraws(space, constraint, sampler_of(space, sampling))
        self._known: set[Architecture] = set()
        self._told: list[int] = []
        self._warm = [space.architecture(spelled) for spelled in warm_start]
        if not repeats:
            self._warm = list(dict.fromkeys(self._warm))
        for architecture in self._warm:
            if not self._legal.allows(architecture):
                raise StrategyError(
                    f"The constraint refuses the warm start {architecture.to_json()}. "
                    "Leave it out or loosen the constraint."
                )

    @abstractmethod
    def suggest(self) -> Architecture:
        """Returns the next architecture; asked again if it is illegal or known."""

    def observe(self, trial: Trial) -> None:  # a hook
        """Learns from a trial that was told and succeeded; it is the last of `results`."""

    def observe_failure(self, trial: Trial) -> None:  # a hook
        """Learns that a trial has failed."""

    def promote(self) -> tuple[Architecture, float] | None:
        """Returns a known architecture to evaluate at a higher fidelity, or None."""
        return None

    def fidelity(self) -> float | None:
        """Returns the fidelity of new architectures."""
        return None

    def opened(self, trial: Trial, promoted: bool) -> None:  # a hook
        """Notes that a proposal is handed out."""

    def state(self) -> dict[str, Any]:
        """Returns what the subclass knows beyond the base, as plain JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # a hook
        """Takes what `state` returned; the base, with all trials, is restored before."""

    def ask(self) -> Proposal:
        """Returns the next proposal.

        Raises:
            Exhausted: If every legal architecture was proposed and repeats are forbidden.
            InfeasibleError: If the constraint allows nothing.
            Waiting: If an open proposal must be told first.
        """
        fidelity: float | None
        promotion = self.promote()
        if promotion is not None:
            architecture, fidelity = promotion
        else:
            architecture, fidelity = self._next(), self.fidelity()
        proposal = Proposal(len(self.trials), architecture, fidelity)
        trial = Trial(proposal)
        self.trials[proposal.id] = trial
        self._known.add(architecture)
        self.opened(trial, promotion is not None)
        return proposal

    def tell(self, proposal_id: int, outcome: Outcome) -> None:
        """Takes what became of a proposal. An objective that is not finite is a failure.

        Raises:
            StrategyError: If no such proposal is open or the objective is missing.
        """
        if not isinstance(proposal_id, int) or not isinstance(outcome, Outcome):
            raise StrategyError(
                "tell takes the id of a proposal and its Outcome: "
                f"tell(proposal.id, Outcome({{'{self.objective}': 0.9}})); got a "
                f"{type(proposal_id).__name__} and a {type(outcome).__name__}."
            )
        trial = self.trials.get(proposal_id)
        if trial is None or trial.outcome is not None:
            state = "was never handed out" if trial is None else "has been told before"
            open_ids = [p.id for p in self.open]
            raise StrategyError(f"Proposal {proposal_id!r} {state}. Open: {open_ids or 'none'}.")
        outcome = self._checked(outcome)
        self._record(trial, outcome)
        if trial.value is None:
            self.observe_failure(trial)
        else:
            self.observe(trial)

    def front(self) -> list[Trial]:
        """Returns what no other result dominates: the best, where there is one objective."""
        return [] if self.best is None else [self.best]

    @property
    def open(self) -> list[Proposal]:
        """The proposals that have not been told, in the order of asking."""
        return [t.proposal for t in self.trials.values() if t.outcome is None]

    @property
    def best(self) -> Trial | None:
        """The best success among those of the highest fidelity; of equals the first proposed."""
        return max(
            self.results,
            key=lambda trial: (trial.proposal.fidelity or 0.0, *by_rank(trial)),
            default=None,
        )

    def value_of(self, outcome: Outcome) -> float | None:
        """Returns the objective of an outcome, such that more is better; None for a failure."""
        if outcome.failure is not None:
            return None
        value = float(outcome.metrics[self.objective])
        return value if self.goal == "max" else -value

    def required_metrics(self) -> Collection[str]:
        """Returns the names of the metrics that every success must have."""
        return (self.objective,)

    def allows(self, architecture: Architecture) -> bool:
        """Says whether the constraint allows an architecture."""
        return self._legal.allows(architecture)

    def random_architecture(self) -> Architecture:
        """Draws from the whole space, as `sampling` says."""
        return self._legal.sample(self.rng)

    def is_barred(self, architecture: Architecture) -> bool:
        """Says whether an architecture may not be proposed because it was before."""
        return not self.repeats and architecture in self._known

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that changes during a search, as plain JSON."""
        version, numbers, gauss = self.rng.getstate()
        return {
            "format": _FORMAT,
            "strategy": self.name,
            "objective": [self.objective, self.goal],
            "space": self.space.to_json(),
            "rng": [version, list(numbers), gauss],
            "trials": [
                {
                    "proposal": trial.proposal.to_json(),
                    "outcome": None if trial.outcome is None else trial.outcome.to_json(),
                }
                for trial in self.trials.values()
            ],
            "told": list(self._told),
            "warm": [architecture.to_json() for architecture in self._warm],
            "own": self.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what `state_dict` returned; the strategy then continues from there.

        Raises:
            StrategyError: If it is the state of another strategy, objective or space.
        """
        expected = {
            "format": _FORMAT,
            "strategy": self.name,
            "objective": [self.objective, self.goal],
            "space": self.space.to_json(),
        }
        for key, value in expected.items():
            if state.get(key) != value:
                shown = "" if key == "space" else f": {state.get(key)!r}, expected {value!r}"
                raise StrategyError(
                    f"The state is that of another {key}{shown}. Load it into a strategy that is "
                    "made like the one that saved it."
                )
        version, numbers, gauss = state["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
        self._warm = [self.space.architecture(spelled) for spelled in state["warm"]]
        self.trials, self.results, self._known, self._told = {}, [], set(), []
        outcomes = {}
        for entry in state["trials"]:
            proposal = Proposal.from_json(entry["proposal"], self.space)
            self.trials[proposal.id] = Trial(proposal)
            self._known.add(proposal.architecture)
            if entry["outcome"] is not None:
                outcomes[proposal.id] = Outcome.from_json(entry["outcome"])
        for told in state["told"]:
            self._record(self.trials[told], outcomes[told])
        self.restore(state["own"])

    def _next(self) -> Architecture:
        while self._warm:
            architecture = self._warm.pop(0)
            if self.repeats or architecture not in self._known:
                return architecture
        known: Collection[Architecture] = () if self.repeats else self._known
        return self._legal.draw(self.suggest, known, self.rng)

    def _checked(self, outcome: Outcome) -> Outcome:
        """Returns the outcome, or a failure where a metric is not a finite number."""
        if outcome.failure is not None:
            return outcome
        for name in self.required_metrics():
            if name not in outcome.metrics:
                raise StrategyError(
                    f"The outcome has no metric '{name}', only {sorted(outcome.metrics)}. "
                    "Report it, or name another objective."
                )
            if not math.isfinite(outcome.metrics[name]):
                failure = f"{name} is {outcome.metrics[name]}"
                return Outcome(failure=failure, seconds=outcome.seconds)
        return outcome

    def _record(self, trial: Trial, outcome: Outcome) -> None:
        trial.outcome = outcome
        trial.value = self.value_of(outcome)
        self._told.append(trial.proposal.id)
        if trial.value is not None:
            self.results.append(trial)


def make_strategy(name: str, space: SearchSpace, **options: Any) -> Strategy:
    """Makes the strategy of that name.

    Raises:
        UnknownNameError: If there is none.
        OptionError: If it does not take the options.
    """
    return strategies.get(name)(space, **options)
