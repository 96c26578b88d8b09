"""NSGA-II: evolution of a front instead of a single best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.neighbours import crossover, mutate
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.front import crowding, fronts
from nas_plugin.strategies.proposal import Outcome, Trial
from nas_plugin.strategies.strategy import Strategy

Point = tuple[float, ...]


class Nsga2(Strategy, name="nsga2"):
    """Selects by dominance, then by distance to others on the same front.

    When as many children are told as the population has members, the best of both survive.

    Args:
        space: The search space.
        objectives: Metric → ``max`` or ``min``; at least two. The first is the one that
            `best` goes by.
        population: Members.
        crossover_share: The share of children of two parents; the others have one.
        **options: See `Strategy`.

    References:
        Deb et al. 2002, https://doi.org/10.1109/4235.996017
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        objectives: Mapping[str, Literal["max", "min"]] | None = None,
        population: int = 20,
        crossover_share: float = 0.9,
        **options: Any,
    ) -> None:
        wanted: dict[str, Literal["max", "min"]] = dict(
            objectives or {"default": "max", "params": "min"}
        )
        if len(wanted) < 2 or not set(wanted.values()) <= {"max", "min"}:
            raise OptionError(
                f"objectives must map at least two metrics to 'max' or 'min', got {wanted}."
            )
        if {"objective", "goal"} & options.keys():
            raise OptionError("nsga2 takes 'objectives' in place of 'objective' and 'goal'.")
        first, goal = next(iter(wanted.items()))
        super().__init__(space, objective=first, goal=goal, **options)
        if population < 2 or not 0 <= crossover_share <= 1:
            raise OptionError(
                "nsga2 needs population >= 2 and crossover_share in [0, 1], got "
                f"{population} and {crossover_share}."
            )
        self.objectives = wanted
        self.population, self.crossover_share = population, crossover_share
        self._members: list[int] = []
        self._children: list[int] = []

    def suggest(self) -> Architecture:
        if len(self.trials) < self.population or len(self._members) < 2:
            return self.random_architecture()
        fitness = self._fitness(self._members)
        child = self._parent(fitness)
        if self.rng.random() < self.crossover_share:
            child = crossover(self.space, child, self._parent(fitness), self.rng)
        return mutate(self.space, child, self.rng)

    def observe(self, trial: Trial) -> None:
        self._children.append(trial.proposal.id)
        if len(self._children) >= self.population:
            # By proposal: crowding, too, breaks ties by position.
            both = sorted(self._members + self._children)
            fitness = self._fitness(both)
            self._members = sorted(both, key=lambda i: (fitness[i], i))[: self.population]
            self._children = []

    def required_metrics(self) -> Collection[str]:
        return tuple(self.objectives)

    def front(self) -> list[Trial]:
        """Returns the results that no other dominates, best in the first objective first."""
        points = [self._point(trial) for trial in self.results]
        best = fronts(points)[0] if points else []

        def order(i: int) -> tuple[Point, int]:
            return points[i], -self.results[i].proposal.id

        return [self.results[i] for i in sorted(best, key=order, reverse=True)]

    def state(self) -> dict[str, Any]:
        return {"members": list(self._members), "children": list(self._children)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._members, self._children = list(state["members"]), list(state["children"])

    def _parent(self, fitness: Mapping[int, tuple[int, float]]) -> Architecture:
        """Returns the better of two members."""
        drawn = [self._members[self.rng.randrange(len(self._members))] for _ in range(2)]
        return self.trials[min(drawn, key=lambda i: (fitness[i], i))].architecture

    def _fitness(self, ids: Sequence[int]) -> dict[int, tuple[int, float]]:
        """Returns for each proposal the number of its front and minus its crowding distance."""
        points = [self._point(self.trials[i]) for i in ids]
        fitness = {}
        for number, members in enumerate(fronts(points)):
            distances = crowding([points[m] for m in members])
            for member, distance in zip(members, distances, strict=True):
                fitness[ids[member]] = (number, -distance)
        return fitness

    def _point(self, trial: Trial) -> Point:
        metrics = (trial.outcome or Outcome()).metrics
        return tuple(
            float(metrics[name]) * (1.0 if goal == "max" else -1.0)
            for name, goal in self.objectives.items()
        )
