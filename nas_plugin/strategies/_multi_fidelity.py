"""The base of strategies that evaluate the better architectures more thoroughly."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies._brackets import Bracket, Rung
from nas_plugin.strategies.proposal import Exhausted, Proposal, Trial, Waiting
from nas_plugin.strategies.strategy import Strategy


class MultiFidelity(Strategy):
    """Fills brackets and promotes within them.

    A rung promotes when all of its proposals are told; meanwhile the next bracket is begun, so
    that workers never wait while the space has new architectures.

    Args:
        space: The search space.
        fidelities: What the evaluator takes as fidelity, rising (epochs, as a rule).
        eta: One in `eta` architectures of a rung is promoted to the next.
        **options: See `Strategy`.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        fidelities: Sequence[float] = (1, 3, 9),
        eta: float = 3.0,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        rising = all(a < b for a, b in zip(fidelities, list(fidelities)[1:], strict=False))
        if not fidelities or not rising or fidelities[0] <= 0:
            raise OptionError(f"fidelities must be positive and rise, got {list(fidelities)}.")
        if not eta > 1:
            raise OptionError(f"eta must be more than 1, got {eta}.")
        self.fidelities, self.eta = tuple(float(f) for f in fidelities), eta
        self._brackets: list[Bracket] = []
        self._begun = 0
        #: Where the proposal that is being made goes: a bracket and a rung.
        self._place = (0, 0)
        #: Open proposal → bracket and rung.
        self._places: dict[int, tuple[int, int]] = {}

    @abstractmethod
    def shape(self, number: int) -> list[tuple[float, int]]:
        """Returns the fidelity and size of every rung of the bracket of that number."""

    def ask(self) -> Proposal:
        try:
            return super().ask()
        except Exhausted:
            for bracket in self._brackets:
                bracket.close()
            if self._promotion() is None:
                if self._places:
                    raise Waiting(
                        "No new architecture is left, and no rung is complete. Tell one of the "
                        f"open proposals first: {[p.id for p in self.open]}."
                    ) from None
                raise
            return super().ask()

    def promote(self) -> tuple[Architecture, float] | None:
        found = self._promotion()
        if found is None:
            return None
        index, proposal, rung = found
        bracket = self._brackets[index]
        bracket.rungs[rung - 1].promoted.append(proposal)
        self._place = (index, rung)
        return self.trials[proposal].architecture, bracket.rungs[rung].fidelity

    def fidelity(self) -> float | None:
        """Returns the lowest fidelity of the first bracket that has room."""
        for index, bracket in enumerate(self._brackets):
            if not bracket.rungs[0].is_full:
                self._place = (index, 0)
                return bracket.rungs[0].fidelity
        rungs = [Rung(fidelity, size) for fidelity, size in self.shape(self._begun)]
        self._begun += 1
        self._brackets.append(Bracket(rungs))
        self._place = (len(self._brackets) - 1, 0)
        return rungs[0].fidelity

    def opened(self, trial: Trial, promoted: bool) -> None:
        bracket, rung = self._place
        self._brackets[bracket].rungs[rung].values[trial.proposal.id] = None
        self._places[trial.proposal.id] = self._place

    def observe(self, trial: Trial) -> None:
        self._close(trial)

    def observe_failure(self, trial: Trial) -> None:
        self._close(trial)

    def state(self) -> dict[str, Any]:
        return {
            "brackets": [bracket.to_json() for bracket in self._brackets],
            "begun": self._begun,
            "places": [[i, *place] for i, place in self._places.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._brackets = [Bracket.from_json(bracket) for bracket in state["brackets"]]
        self._begun = state["begun"]
        self._places = {i: (bracket, rung) for i, bracket, rung in state["places"]}

    def halvings(self, start: int, size: int) -> list[tuple[float, int]]:
        """Returns the rungs that begin at fidelity number `start` with `size` architectures."""
        levels = self.fidelities[start:]
        # The tolerance keeps 9 / 3**2 at 1 whatever eta's last bit.
        return [(f, max(1, int(size / self.eta**i + 1e-9))) for i, f in enumerate(levels)]

    def _promotion(self) -> tuple[int, int, int] | None:
        for index, bracket in enumerate(self._brackets):
            found = bracket.next_promotion()
            if found is not None:
                return index, *found
        return None

    def _close(self, trial: Trial) -> None:
        bracket, rung = self._places.pop(trial.proposal.id)
        value = -math.inf if trial.value is None else trial.value
        self._brackets[bracket].rungs[rung].values[trial.proposal.id] = value
