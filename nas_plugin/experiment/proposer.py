"""The seam between an experiment and a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies import Exhausted, Outcome, Waiting, make_strategy


class Asked(Protocol):
    """What a strategy proposes; `nas_plugin.strategies.Proposal` is one."""

    @property
    def id(self) -> int: ...

    @property
    def architecture(self) -> Any: ...

    @property
    def fidelity(self) -> float | None: ...


class Proposer(Protocol):
    """A strategy, as an experiment needs it."""

    @property
    def exhausted(self) -> bool:
        """Whether there will be no other proposal."""

    def ask(self) -> Asked | None:
        """Returns the next proposal; None if there is none before something is told, or ever."""

    def tell(self, proposal: int, metrics: Mapping[str, float] | None, failure: str) -> None:
        """Takes what became of a proposal: its metrics, or None and why it failed."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns everything that changes, as plain JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what `state_dict` returned."""


class StrategyProposer:
    """A strategy of `nas_plugin.strategies` as a proposer.

    Args:
        name: The strategy's name.
        space: The search space.
        seed: Of the strategy.
        options: Its own arguments.

    Raises:
        OptionError: If the name is unknown or the strategy does not take the options.
    """

    def __init__(
        self, name: str, space: SearchSpace, *, seed: int, options: Mapping[str, Any]
    ) -> None:
        self._strategy = make_strategy(name, space, seed=seed, **options)
        self.exhausted = False

    def ask(self) -> Asked | None:
        try:
            return self._strategy.ask()
        except Waiting:
            return None
        except Exhausted:
            self.exhausted = True
            return None

    def tell(self, proposal: int, metrics: Mapping[str, float] | None, failure: str) -> None:
        outcome = Outcome(failure=failure) if metrics is None else Outcome(metrics=metrics)
        self._strategy.tell(proposal, outcome)

    def state_dict(self) -> Mapping[str, Any]:
        return self._strategy.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._strategy.load_state_dict(state)
