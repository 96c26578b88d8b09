"""Sampling is uniform over architectures: exact probabilities against brute-force enumeration."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from nas_plugin.space import Architecture, SearchSpace
from nas_plugin.space.choice import Choice
from nas_plugin.space.encodings import nasbench101


class Branching(Random):
    """A generator whose every draw takes a prescribed outcome and notes how many there were."""

    def __init__(self, path: list[int]) -> None:
        super().__init__(0)
        self.path, self.widths = path, []  # type: list[int], list[int]

    def _next(self, width: int) -> int:
        self.widths.append(width)
        return self.path[len(self.widths) - 1] if len(self.widths) <= len(self.path) else 0

    def randrange(self, *args: Any) -> int:
        (n,) = args
        return self._next(n)

    def random(self) -> float:
        return (0.25, 0.75)[self._next(2)]

    def sample(self, population: Any, k: int, **_: Any) -> list[Any]:
        options = list(itertools.combinations(population, k))
        return list(options[self._next(len(options))])


def distribution(draw: Callable[[Random], Architecture]) -> dict[Architecture, Fraction]:
    """Returns the exact probability of everything that `draw` may return."""
    found: Counter[Architecture] = Counter()
    for architecture, probability in walk(draw):
        found[architecture] += probability  # type: ignore[assignment]
    return dict(found)  # type: ignore[arg-type]


def walk(draw: Callable[[Random], Architecture]) -> Iterator[tuple[Architecture, Fraction]]:
    path: list[int] = []
    while True:
        rng = Branching(path)
        drawn = draw(rng)
        yield drawn, Fraction(1, math.prod(rng.widths))
        path = (path + [0] * len(rng.widths))[: len(rng.widths)]
        while path and path[-1] + 1 == rng.widths[len(path) - 1]:
            path.pop()
        if not path:
            return
        path[-1] += 1


def brute_force(choices: list[Choice]) -> set[Architecture]:
    """Tries every assignment of all keys and keeps what matters of it."""
    found = set()
    for values in itertools.product(*(list(choice.values()) for choice in choices)):
        given = dict(zip((c.key for c in choices), values, strict=True))
        active: dict[str, Any] = {}
        for _ in choices:  # as many rounds as the longest chain of conditions
            active = {
                c.key: given[c.key]
                for c in choices
                if not c.active_if
                or any(
                    all(
                        key in active
                        and any(
                            entry in wanted
                            for entry in (
                                active[key] if isinstance(active[key], tuple) else (active[key],)
                            )
                        )
                        for key, wanted in alternative
                    )
                    for alternative in c.active_if
                )
            }
        found.add(Architecture(active))
    return found


def random_space(seed: int) -> list[Choice]:
    """Returns a few choices of all kinds with random conditions on earlier ones."""
    rng = Random(seed)
    choices: list[Choice] = []
    for i in range(4):
        kind = rng.choice(["layer", "input", "repeat", "value"])
        n = rng.choice([2, 2, 3])
        candidates: tuple[Any, ...] = (
            tuple("abc"[:n]) if kind in ("layer", "input") else (1, 2, 3)[:n]
        )
        alternatives = set()
        for _ in range(rng.choice([0, 1, 2]) if choices else 0):
            parents = rng.sample(choices, rng.choice([1, min(2, len(choices))]))
            alternatives.add(
                tuple((p.key, tuple(rng.sample(p.candidates, rng.choice([1, 2])))) for p in parents)
            )
        n_chosen = rng.choice([None, 1, 2]) if kind == "input" else 1
        choices.append(
            Choice(f"k{i}", kind, candidates, n_chosen=n_chosen,  # type: ignore[arg-type]
                   active_if=tuple(sorted(alternatives)))
        )  # fmt: skip
    rng.shuffle(choices)  # children may stand before their parents
    return choices


@pytest.mark.parametrize("seed", range(20))
def test_every_architecture_is_equally_likely(seed: int) -> None:
    choices = random_space(seed)
    space = SearchSpace(choices)
    expected = brute_force(choices)
    found = distribution(space.sample)

    assert space.size == len(expected)
    assert set(found) == expected
    assert set(found.values()) == {Fraction(1, len(expected))}


@pytest.mark.parametrize("seed", range(20))
def test_completions_are_equally_likely(seed: int) -> None:
    choices = random_space(seed)
    space, rng = SearchSpace(choices), Random(seed)
    partial = {
        choice.key: rng.choice(list(choice.values()))
        for choice in rng.sample(choices, rng.choice([1, 2, 3]))
    }
    expected = {
        architecture
        for architecture in brute_force(choices)
        if all(architecture.get(key, value) == value for key, value in partial.items())
    }
    found = distribution(lambda rng: space.complete(partial, rng))

    assert set(found) == expected
    assert set(found.values()) == {Fraction(1, len(expected))}


def test_per_choice_is_another_distribution_and_known_by_name() -> None:
    space = SearchSpace(
        [
            Choice("depth", "repeat", (1, 2)),
            Choice("second", "layer", ("a", "b", "c"), active_if=((("depth", (2,)),),)),
        ]
    )
    short = Architecture({"depth": 1})

    assert distribution(space.sample)[short] == Fraction(1, 4)
    per_choice = distribution(space.sample_per_choice)
    assert per_choice.pop(short) == Fraction(1, 2)
    assert set(per_choice.values()) == {Fraction(1, 6)} and len(per_choice) == 3


def test_a_chain_of_conditions_is_counted_without_walking_it() -> None:
    choices = [Choice("k0", "layer", ("a", "b"))]
    for i in range(1, 60):
        choices.append(Choice(f"k{i}", "layer", ("a", "b"), active_if=(((f"k{i - 1}", ("a",)),),)))
    space = SearchSpace(choices)

    assert space.size == 61  # one that leaves at each choice, and one that never does
    assert space.sample(Random(0)) in set(space.enumerate())


def test_graphs_of_nasbench101_are_drawn_as_often_as_there_are() -> None:
    space = nasbench101.space()
    rng = Random(0)
    sizes = Counter(sum(key.startswith("op_") for key in space.sample(rng)) for _ in range(400))
    # Of 156 million, all but 3 % have five inner vertices; per choice a third of the draws do.
    assert sizes[5] > 370
    per_choice = Counter(
        sum(key.startswith("op_") for key in space.sample_per_choice(rng)) for _ in range(400)
    )
    assert per_choice[5] < 300


def test_what_was_counted_does_not_travel() -> None:
    space = SearchSpace(random_space(1))
    fresh = len(pickle.dumps(space))
    assert space.size and space.sample(Random(0))

    assert len(pickle.dumps(space)) == fresh
    assert pickle.loads(pickle.dumps(space)) == space


def test_a_value_given_for_what_is_drawn_is_kept() -> None:
    space = SearchSpace(
        [
            Choice("outer", "layer", ("x", "y")),
            Choice("inner", "layer", ("a", "b", "c"), active_if=((("outer", ("x",)),),)),
        ]
    )
    found = distribution(lambda rng: space.complete({"inner": "b"}, rng))

    expected = [Architecture({"outer": "x", "inner": "b"}), Architecture({"outer": "y"})]
    assert found == dict.fromkeys(expected, Fraction(1, 2))
