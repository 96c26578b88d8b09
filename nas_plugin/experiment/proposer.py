"""The seam between an experiment and a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nas_plugin.space.search_space import SearchSpace


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

    def ask(self) -> Asked | None:
        """Returns the next proposal; None if there will be no other."""

    def tell(self, proposal: int, metrics: Mapping[str, float] | None, failure: str) -> None:
        """Takes what became of a proposal: its metrics, or None and why it failed."""


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
        from nas_plugin.errors import OptionError
        from nas_plugin.strategies import strategies

        factory = strategies.get(name)
        try:
            self._strategy = factory(space, seed=seed, **options)
        except TypeError as error:
            raise OptionError(
                f"The strategy '{name}' does not take these classArgs: {error}. "
                f"Given: {dict(options)}."
            ) from error

    def ask(self) -> Asked | None:
        from nas_plugin.strategies import Exhausted

        try:
            return self._strategy.ask()
        except Exhausted:
            return None

    def tell(self, proposal: int, metrics: Mapping[str, float] | None, failure: str) -> None:
        from nas_plugin.strategies import Outcome

        outcome = Outcome(failure=failure) if metrics is None else Outcome(metrics=metrics)
        self._strategy.tell(proposal, outcome)
