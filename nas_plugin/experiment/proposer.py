"""The seam between an experiment and a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nas_plugin.errors import OptionError
from nas_plugin.experiment.nni_tuners import PREFIX, NniProposer
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

    def state_dict(self) -> Mapping[str, Any] | None:
        """Returns everything that changes, as plain JSON; None if only a replay restores it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what `state_dict` returned."""


def check_whole(name: str, value: Any, least: int = 0) -> int:
    """Returns a setting that is a whole number.

    Raises:
        OptionError: If it is none (True and False included) or smaller than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return value


def make_proposer(
    name: str, space: SearchSpace, *, seed: int, options: Mapping[str, Any]
) -> Proposer:
    """Returns a strategy of nas_plugin, or a tuner of NNI if the name is ``nni.`` and its name.

    Raises:
        OptionError: If there is none of that name or it does not take the options.
    """
    if name.startswith(PREFIX):
        return NniProposer(name.removeprefix(PREFIX), space, seed=seed, options=options)
    return StrategyProposer(name, space, seed=seed, options=options)


class StrategyProposer:
    """A strategy of `nas_plugin.strategies` as a proposer.

    Args:
        name: The strategy's name.
        space: The search space.
        seed: Seed of the strategy.
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
