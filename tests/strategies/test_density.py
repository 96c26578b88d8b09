"""The densities of TPE by hand counts."""

from __future__ import annotations

from collections import Counter
from random import Random

from nas_plugin.space import Architecture, Choice, SearchSpace
from nas_plugin.strategies import Outcome, Proposal
from nas_plugin.strategies._density import Densities
from nas_plugin.strategies.proposal import Trial

SPACE = SearchSpace([Choice("op", "layer", ("a", "b", "c"))])


def results(*scored: tuple[str, float]) -> list[Trial]:
    return [
        Trial(Proposal(i, Architecture({"op": op})), Outcome({"default": value}), value)
        for i, (op, value) in enumerate(scored)
    ]


#: Of twelve results the best three are good: two a and one b.
TWELVE = results(
    *(("a", 9.0), ("a", 8.0), ("b", 7.0)),
    *(("a", float(-i)) for i in range(5)),
    *(("c", 0.5 * i) for i in range(4)),
)


def suggest(known: set[str], draws: int, seed: int = 0) -> str:
    densities = Densities(SPACE, good=0.25, prior=1.0)
    drawn = densities.suggest(
        TWELVE, draws=draws, rng=Random(seed), known=lambda a: str(a["op"]) in known
    )
    return str(drawn["op"])


def test_of_many_draws_the_highest_ratio_wins() -> None:
    # good: a 7/12, b 4/12, c 1/12; other: a 16/30, b 1/30, c 13/30.
    assert suggest(set(), draws=200) == "b"


def test_what_is_known_is_left_for_others_whatever_the_ratio() -> None:
    assert suggest({"b"}, draws=200) == "a"
    assert suggest({"a", "b"}, draws=200) == "c"
    assert suggest({"a", "b", "c"}, draws=200) == "b"


def test_one_draw_follows_the_density_of_the_good() -> None:
    drawn = Counter(suggest(set(), draws=1, seed=seed) for seed in range(900))

    assert abs(drawn["a"] - 525) < 60 and abs(drawn["b"] - 300) < 60 and abs(drawn["c"] - 75) < 40
