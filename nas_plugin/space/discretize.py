"""From the coefficients of a search to an architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas_plugin.errors import SpaceError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Scalar, Value
from nas_plugin.space.search_space import SearchSpace

Scores = Mapping[str, Sequence[float]]


def discretize(space: SearchSpace, scores: Scores) -> Architecture:
    """Returns the architecture of the strongest candidates.

    A layer choice and a depth take the best candidate that may be kept. An input choice takes its
    `n_chosen` best inputs, or those above 0.5 where any number is allowed. One that chooses among
    layer choices ranks each by the best candidate on it (DARTS: the two strongest edges a node).

    Args:
        space: The whole space; edges of a node are compared across blocks.
        scores: Key → probabilities or coefficients, one per candidate, in their order. Input
            choices that follow edges need none.

    Raises:
        SpaceError: If scores are missing or their number differs.
    """
    chosen: dict[str, Value] = {}
    for key in space:
        choice = space[key]
        if space.follows_edges(choice):
            ranking: Sequence[float] = [
                max(_kept(space[str(edge)], scores).values()) for edge in choice.candidates
            ]
            # Without a number given, what follows edges keeps them all.
            n_chosen = choice.n_chosen or len(choice.candidates)
            chosen[key] = _strongest(choice, ranking, n_chosen)
        elif choice.kind == "input":
            ranking = _checked(choice, scores)
            if choice.n_chosen is None:
                chosen[key] = tuple(
                    c for c, s in zip(choice.candidates, ranking, strict=True) if s > 0.5
                )
            else:
                chosen[key] = _strongest(choice, ranking, choice.n_chosen)
        else:
            kept = _kept(choice, scores)
            chosen[key] = max(kept, key=lambda candidate: kept[candidate])
    return space.architecture(
        {k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items()}
    )


def _kept(choice: Choice, scores: Scores) -> dict[Scalar, float]:
    """Returns the scores of the candidates that may be kept."""
    pairs = zip(choice.candidates, _checked(choice, scores), strict=True)
    return {candidate: score for candidate, score in pairs if candidate not in choice.excluded}


def _strongest(choice: Choice, ranking: Sequence[float], n: int) -> tuple[Scalar, ...]:
    best = sorted(range(len(ranking)), key=lambda i: -ranking[i])[:n]
    return tuple(choice.candidates[i] for i in sorted(best))


def _checked(choice: Choice, scores: Scores) -> Sequence[float]:
    found = scores.get(choice.key)
    if found is None or len(found) != len(choice.candidates):
        raise SpaceError(
            f"Choice '{choice.key}' needs {len(choice.candidates)} scores to be discretized, "
            f"got {None if found is None else len(found)}."
        )
    return found
