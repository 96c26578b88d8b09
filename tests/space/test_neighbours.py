"""Neighbours, mutation and crossover by hand."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from nas_plugin.errors import SpaceError
from nas_plugin.space import Architecture, Choice, SearchSpace
from nas_plugin.space.neighbours import crossover, mutate, neighbours

BELOW = ((("outer", ("deep",)),),)
SPACE = SearchSpace(
    [
        Choice("edge", "layer", ("conv", "pool", "none"), excluded=("none",)),
        Choice("outer", "layer", ("deep", "flat")),
        Choice("inner", "layer", ("a", "b", "c"), active_if=BELOW),
        Choice("two", "input", ("x", "y", "z", "w"), n_chosen=2),
        Choice("any", "input", (0, 1), n_chosen=None),
    ]
)
FLAT = SPACE.architecture({"edge": "conv", "outer": "flat", "two": ["x", "y"], "any": [0]})
DEEP = SPACE.architecture(
    {"edge": "pool", "outer": "deep", "inner": "b", "two": ["z", "w"], "any": []}
)


def test_neighbours_change_one_active_choice_by_one_step() -> None:
    found = neighbours(SPACE, FLAT, Random(0))
    changed = Counter()
    for near in found:
        keys = [key for key in FLAT if near[key] != FLAT[key]]
        assert len(keys) == 1
        changed[keys[0]] += 1
        assert ("inner" in near) == (near["outer"] == "deep")

    # One other operation; one other value; 2 x 2 exchanges of an input; each of two inputs.
    assert changed == {"edge": 1, "outer": 1, "two": 4, "any": 2}
    assert len(set(found)) == len(found)
    assert {near["any"] for near in found} == {(0,), (), (0, 1)}
    exchanged = {near["two"] for near in found} - {FLAT["two"]}
    assert exchanged == {("x", "z"), ("x", "w"), ("y", "z"), ("y", "w")}


def test_mutation_changes_one_active_choice_and_all_alike() -> None:
    rng, changed = Random(0), Counter()
    for _ in range(1000):
        child = mutate(SPACE, DEEP, rng)
        keys = [key for key in DEEP if key in child and child[key] != DEEP[key]]
        changed[keys[0]] += 1
        assert len(keys) == 1
        assert ("inner" in child) == (child["outer"] == "deep")

    assert all(abs(n - 200) < 50 for n in changed.values()) and len(changed) == 5


def test_a_choice_of_one_value_is_never_mutated() -> None:
    alone = [
        Choice("a", "layer", ("only",)),
        Choice("b", "layer", ("only", "none"), excluded=("none",)),
    ]
    space = SearchSpace([*alone, Choice("c", "value", (1, 2))])
    rng = Random(0)
    for _ in range(20):
        assert mutate(space, Architecture({"a": "only", "b": "only", "c": 1}), rng)["c"] == 2
    with pytest.raises(SpaceError, match="nothing can be mutated"):
        mutate(SearchSpace(alone), Architecture({"a": "only", "b": "only"}), rng)


def test_crossover_takes_each_key_from_either_parent_alike() -> None:
    space = SearchSpace(Choice(f"c{i}", "value", ("m", "f", "other")) for i in range(5))
    mother, father = (Architecture(dict.fromkeys(space, who)) for who in ("m", "f"))
    rng, taken = Random(0), Counter()
    pairs = Counter()
    for _ in range(800):
        child = crossover(space, mother, father, rng)
        taken.update((key, child[key]) for key in space)
        pairs[child["c0"], child["c1"]] += 1

    assert set(taken) == {(key, who) for key in space for who in "mf"}
    assert all(abs(n - 400) < 60 for n in taken.values())
    assert all(abs(n - 200) < 60 for n in pairs.values()) and len(pairs) == 4


def test_crossover_keeps_what_only_one_parent_has_where_it_matters() -> None:
    rng = Random(0)
    for _ in range(50):
        child = crossover(SPACE, FLAT, DEEP, rng)
        assert child.get("inner") == ("b" if child["outer"] == "deep" else None)
        assert all(child[k] in (FLAT[k], DEEP[k]) for k in ("edge", "outer", "two", "any"))
