"""The next architecture that is legal and, where repeats are forbidden, new."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random

from nas_plugin.errors import OptionError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies.proposal import Exhausted, InfeasibleError

Constraint = Callable[[Architecture], bool]
Sampler = Callable[[Random], Architecture]

#: Ways of drawing an architecture at random, by name.
SAMPLINGS: Mapping[str, Callable[[SearchSpace, Random], Architecture]] = {
    "uniform": SearchSpace.sample,
    "per_choice": SearchSpace.sample_per_choice,
}

#: Draws of the strategy's own way, then of the whole space, before the space is enumerated.
OWN_DRAWS, UNIFORM_DRAWS = 50, 500
#: Spaces of at most this size are enumerated.
ENUMERABLE = 50_000


class LegalDraws:
    """Turns any way of drawing architectures into one that gives legal and new ones.

    A draw that is illegal or known is drawn again; when that keeps failing, the architecture is
    drawn uniformly from what is left of the space.

    Args:
        space: The search space.
        constraint: Says whether an architecture is legal; None allows all.
        sample: Draws an architecture at random.
    """

    def __init__(self, space: SearchSpace, constraint: Constraint | None, sample: Sampler) -> None:
        self._space = space
        self.sample = sample
        self._constraint = constraint
        self._all_legal: list[Architecture] | None = None

    def allows(self, architecture: Architecture) -> bool:
        """Says whether the constraint allows the architecture."""
        return self._constraint is None or bool(self._constraint(architecture))

    def draw(
        self,
        draw: Callable[[], Architecture],
        known: Collection[Architecture],
        rng: Random,
    ) -> Architecture:
        """Returns a legal architecture that is not in `known`, from `draw` where possible.

        Raises:
            Exhausted: If every legal architecture is known.
            InfeasibleError: If nothing legal was found.
        """
        for _ in range(OWN_DRAWS):
            architecture = draw()
            if architecture not in known and self.allows(architecture):
                return architecture
        for _ in range(UNIFORM_DRAWS):
            architecture = self.sample(rng)
            if architecture not in known and self.allows(architecture):
                return architecture
        legal = self._enumerate()
        left = [architecture for architecture in legal if architecture not in known]
        if not left:
            raise Exhausted(
                f"All {len(legal):,} legal architectures of the space have been proposed. "
                "Stop here, or allow repeats=True."
            )
        return left[rng.randrange(len(left))]

    def _enumerate(self) -> list[Architecture]:
        """Returns all legal architectures of a small space."""
        if self._all_legal is None:
            found = list(itertools.islice(self._space.enumerate(), ENUMERABLE + 1))
            if len(found) > ENUMERABLE:
                raise InfeasibleError(
                    f"None of {OWN_DRAWS + UNIFORM_DRAWS} draws is new and allowed by the "
                    f"constraint, and the space is too large to look through (more than "
                    f"{ENUMERABLE:,}). Loosen the constraint, or give warm_start architectures "
                    "that satisfy it."
                )
            self._all_legal = [a for a in found if self.allows(a)]
        if not self._all_legal:
            raise InfeasibleError(
                "The constraint allows no architecture of the space. Loosen it: at least one of "
                f"{self._space.size:,} must satisfy it."
            )
        return self._all_legal


def sampler_of(space: SearchSpace, sampling: str | Sampler) -> Sampler:
    """Returns what draws an architecture of `space`, given by name or as it is.

    Raises:
        OptionError: If there is no such name.
    """
    if callable(sampling):
        return sampling
    if sampling not in SAMPLINGS:
        raise OptionError(
            f"sampling must be one of {', '.join(SAMPLINGS)}, or a function from a generator to "
            f"an architecture, got {sampling!r}."
        )
    return partial(SAMPLINGS[sampling], space)
