"""Regularized evolution: the oldest dies, the best of a sample has a child."""

from __future__ import annotations

from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.neighbours import mutate
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.proposal import by_rank
from nas_plugin.strategies.strategy import Strategy


class RegularizedEvolution(Strategy, name="regularized_evolution"):
    """Aging evolution with mutation of one choice.

    The population is the last `population` successes in the order of telling. A parent is the best
    of `sample` members drawn with replacement. The defaults are those of NAS-Bench-201.

    Args:
        space: The search space.
        population: Members; as many architectures are random at first.
        sample: Members that compete to be the parent.
        **options: See `Strategy`.

    References:
        Real et al. 2019, https://arxiv.org/abs/1802.01548
    """

    def __init__(
        self, space: SearchSpace, *, population: int = 10, sample: int = 3, **options: Any
    ) -> None:
        super().__init__(space, **options)
        if population < 1 or sample < 1:
            raise OptionError(
                f"population and sample must be at least 1, got {population} and {sample}."
            )
        self.population, self.sample = population, sample

    def suggest(self) -> Architecture:
        if len(self.trials) < self.population or not self.results:
            return self.random_architecture()
        members = self.results[-self.population :]
        drawn = [members[self.rng.randrange(len(members))] for _ in range(self.sample)]
        parent = max(drawn, key=by_rank)
        return mutate(self.space, parent.architecture, self.rng)
