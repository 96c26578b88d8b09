"""Local search: walk uphill from neighbour to neighbour, begin anew at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.neighbours import neighbours
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.proposal import Trial, by_rank
from nas_plugin.strategies.strategy import Strategy


class LocalSearch(Strategy, name="local_search"):
    """Proposes the neighbours of the best architecture of the walk, in a random order.

    A better neighbour becomes the new centre at once (`first_improvement`) or when all neighbours
    are told. Where no neighbour is better, a new walk begins at a random architecture.

    Args:
        space: The search space.
        first_improvement: Move at the first better neighbour; otherwise to the best of all.
        startup: Random architectures before the first walk, which begins at the best of them.
        **options: See `Strategy`.

    References:
        White et al. 2020, https://arxiv.org/abs/2005.02960
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        first_improvement: bool = True,
        startup: int = 10,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        if startup < 1:
            raise OptionError(f"startup must be at least 1, got {startup}.")
        self.first_improvement, self.startup = first_improvement, startup
        self._centre: int | None = None
        self._queue: list[Architecture] = []
        #: The first proposal that belongs to the walk; later ones may become its centre.
        self._walk = 0

    def suggest(self) -> Architecture:
        if len(self.trials) < self.startup:
            return self.random_architecture()
        if not self._queue:
            self._move()
        if self._queue:
            return self._queue.pop()
        return self.random_architecture()

    def observe(self, trial: Trial) -> None:
        if not self.first_improvement or len(self.trials) < self.startup:
            return
        if self._centre is None or by_rank(trial) > by_rank(self.trials[self._centre]):
            self._go_to(self._best_of_walk())

    def _move(self) -> None:
        """Goes to the best of the walk, or begins a new walk if that is where we are."""
        best = self._best_of_walk()
        if best is not None and best != self._centre:
            self._go_to(best)
        elif best is not None and not any(p.id >= self._walk for p in self.open):
            self._walk, self._centre = len(self.trials), None

    def _go_to(self, centre: int | None) -> None:
        if centre is None:
            return
        self._centre = centre
        around = neighbours(self.space, self.trials[centre].architecture, self.rng)
        self._queue = [a for a in around if not self.is_barred(a)]
        self.rng.shuffle(self._queue)

    def _best_of_walk(self) -> int | None:
        walk = [trial for trial in self.results if trial.proposal.id >= self._walk]
        return max(walk, key=by_rank).proposal.id if walk else None

    def state(self) -> dict[str, Any]:
        queue = [architecture.to_json() for architecture in self._queue]
        return {"centre": self._centre, "queue": queue, "walk": self._walk}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._centre, self._walk = state["centre"], state["walk"]
        self._queue = [self.space.architecture(spelled) for spelled in state["queue"]]
