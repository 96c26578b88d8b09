"""Evolution by generations, the second stage of Single Path One-Shot."""

from __future__ import annotations

from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Value
from nas_plugin.space.cost_table import CostTable
from nas_plugin.space.neighbours import crossover
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.proposal import Trial, Waiting, by_rank
from nas_plugin.strategies.strategy import Strategy


class SposEvolution(Strategy, name="spos"):
    """Children of the best so far by crossover and mutation, one whole generation at a time.

    The first generation is random. Each later one holds `mutation` children in which every choice
    of a parent is drawn anew with probability `mutation_probability`, `crossover` children of two
    parents, and random architectures in what is left. A generation begins when the last has been
    told in full, and the parents are ordered by value, then by proposal, so the same search comes
    out however many proposals are evaluated at once.

    Args:
        space: The search space.
        population: Members of a generation; the paper runs 20 generations.
        top: Parents.
        crossover: Children of two parents a generation.
        mutation: Children of one parent a generation.
        mutation_probability: Probability that a choice of a mutated child is drawn anew.
        cost_table: The file of a `CostTable`, where legality is to follow from one.
        cost_limit: The largest legal cost by that table.
        **options: See `Strategy`.

    Raises:
        OptionError: If the numbers do not fit together.
        FileError: If the cost table cannot be read.

    References:
        Guo et al. 2019, https://arxiv.org/abs/1904.00420
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 50,
        top: int = 10,
        crossover: int = 25,
        mutation: int = 25,
        mutation_probability: float = 0.1,
        cost_table: str | None = None,
        cost_limit: float | None = None,
        **options: Any,
    ) -> None:
        if top < 1 or min(crossover, mutation) < 0 or crossover + mutation > population:
            raise OptionError(
                "top must be at least 1 and crossover + mutation at most population, got "
                f"{top}, {crossover} + {mutation} and {population}."
            )
        if not 0 < mutation_probability <= 1:
            raise OptionError(
                f"mutation_probability must be in (0, 1], got {mutation_probability}."
            )
        if (cost_table is None) != (cost_limit is None):
            raise OptionError("cost_table and cost_limit belong together: give both or neither.")
        if cost_table is not None and cost_limit is not None:
            if options.get("constraint") is not None:
                raise OptionError("Give a constraint or a cost_table, not both.")
            table, limit = CostTable.read(cost_table), cost_limit
            table.check(space)
            options["constraint"] = lambda architecture: table(architecture) <= limit
        super().__init__(space, **options)
        self.population, self.top = population, top
        self.crossover, self.mutation = crossover, mutation
        self.mutation_probability = mutation_probability

    @property
    def best(self) -> Trial | None:
        """The best success; of equals the one that was proposed first."""
        return max(self.results, key=by_rank, default=None)

    def suggest(self) -> Architecture:
        generation, position = divmod(len(self.trials), self.population)
        if generation == 0:
            return self.random_architecture()
        # Siblings that were told already are no parents: whether they were is a matter of timing.
        before = [t for t in self.results if t.proposal.id < generation * self.population]
        parents = sorted(before, key=by_rank, reverse=True)[: self.top]
        if not parents or position >= self.mutation + self.crossover:
            return self.random_architecture()
        mother = parents[self.rng.randrange(len(parents))].architecture
        if position < self.mutation:
            return self._mutated(mother)
        father = parents[self.rng.randrange(len(parents))].architecture
        return crossover(self.space, mother, father, self.rng)

    def promote(self) -> None:
        """Waits for the generation before; it has nothing to promote."""
        first = len(self.trials) // self.population * self.population
        waiting = [proposal.id for proposal in self.open if proposal.id < first]
        if waiting:
            raise Waiting(
                f"The next generation begins when the proposals {waiting[:8]} have been told."
            )

    def _mutated(self, parent: Architecture) -> Architecture:
        kept: dict[str, Value] = {
            key: value
            for key, value in parent.items()
            if self.rng.random() >= self.mutation_probability
        }
        return self.space.complete(kept, self.rng)
