"""Search spaces against brute force, and every spelling of an architecture."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from nas_plugin.errors import ArchitectureError, SpaceError
from nas_plugin.space import Architecture, SearchSpace, crossover, discretize, mutate, neighbours
from nas_plugin.space.choice import Choice


def darts_node(node: int, ops: tuple[str, ...] = ("none", "a", "b")) -> list[Choice]:
    keys = [f"n{node}_p{source}" for source in range(node)]
    edges = [
        Choice(key, "layer", ops, excluded=("none",), active_if=(((f"s{node}", (key,)),),))
        for key in keys
    ]
    return [*edges, Choice(f"s{node}", "input", tuple(keys), n_chosen=2)]


def nested() -> SearchSpace:
    return SearchSpace(
        [
            Choice("outer", "layer", ("x", "y")),
            Choice("inner", "layer", ("p", "q", "r"), active_if=((("outer", ("x",)),),)),
            Choice("depth", "repeat", (1, 2, 3)),
            *(
                Choice(f"d{i}", "layer", ("u", "v"), active_if=((("depth", tuple(range(i, 4))),),))
                for i in (1, 2, 3)
            ),
            Choice("any", "input", (0, 1, 2), n_chosen=None),
            Choice("width", "value", (4, 8)),
        ]
    )


SPACES = {
    "nested": nested(),
    "darts": SearchSpace([*darts_node(2), *darts_node(3)]),
    "shared": SearchSpace(
        [
            Choice("a", "layer", ("0", "1")),
            Choice("b", "layer", ("0", "1")),
            # Two places: below a=1, or below b=1.
            Choice("c", "layer", ("0", "1", "2"),
                   active_if=((("a", ("1",)),), (("b", ("1",)),))),
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_size_is_what_enumeration_counts_and_all_differ(name: str) -> None:
    space = SPACES[name]
    found = list(space.enumerate())

    assert len(found) == len(set(found)) == space.size
    assert all(space.architecture(a.to_json()) == a for a in found)


def test_sizes_by_hand() -> None:
    assert SPACES["nested"].size == (3 + 1) * (2 + 4 + 8) * 2**3 * 2
    assert SPACES["darts"].size == (1 * 2**2) * (3 * 2**2)
    assert SPACES["shared"].size == 1 + 3 * 3


@pytest.mark.parametrize("name", SPACES)
def test_json_makes_an_equal_space(name: str) -> None:
    space = SPACES[name]

    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


@pytest.mark.parametrize("name", SPACES)
def test_samples_reach_the_whole_space_and_are_legal(name: str) -> None:
    space, rng = SPACES[name], Random(0)
    small = space.size < 100
    found = {space.sample(rng) for _ in range(2000 if small else 300)}

    assert all(space.architecture(a.to_json()) == a for a in found)
    assert len(found) == space.size if small else len(found) > 100


@pytest.mark.parametrize("name", SPACES)
def test_steps_stay_inside_and_change_one_active_key(name: str) -> None:
    space, rng = SPACES[name], Random(1)
    for _ in range(50):
        parent, other = space.sample(rng), space.sample(rng)
        child = mutate(space, parent, rng)
        assert child != parent
        assert space.architecture(child.to_json()) == child
        mixed = crossover(space, parent, other, rng)
        assert space.architecture(mixed.to_json()) == mixed
        for near in neighbours(space, parent, rng):
            assert space.architecture(near.to_json()) == near
            changed = [k for k in near if k in parent and near[k] != parent[k]]
            assert near != parent and len(changed) == 1


def test_keys_that_do_not_matter_are_dropped() -> None:
    space = SPACES["nested"]
    long = {"outer": "y", "inner": [], "depth": 1, "d1": "u", "d2": "v", "d3": [], "any": [],
            "width": 4}  # fmt: skip
    short = {key: long[key] for key in ("outer", "depth", "d1", "any", "width")}

    assert space.architecture(long) == space.architecture(short)
    assert hash(space.architecture(long)) == hash(space.architecture(short))
    assert "inner" not in space.architecture(long)
    with pytest.raises(ArchitectureError, match="Choice 'd3' cannot be 'garbage'"):
        space.architecture({**long, "d3": "garbage"})


ONE = Choice("k", "layer", ("a", "b", "c"))
TWO = Choice("k", "input", ("a", "b", "c"), n_chosen=2)


@pytest.mark.parametrize(
    ("choice", "spelling", "value"),
    [
        (ONE, "b", "b"),
        (ONE, 1, "b"),
        (ONE, ["b"], "b"),
        (ONE, [1], "b"),
        (ONE, [False, True, False], "b"),
        (ONE, {"_value": "b", "_idx": 1}, "b"),
        (TWO, ["c", "a"], ("a", "c")),
        (TWO, [2, 0], ("a", "c")),
        (TWO, [True, False, True], ("a", "c")),
        (TWO, {"_value": ["", ""], "_idx": [0, 2]}, ("a", "c")),
        (Choice("k", "value", (0.5, 3, True)), {"_value": 3, "_idx": 1}, 3),
        (Choice("k", "repeat", (1, 2)), {"_value": 2, "_idx": 1}, 2),
    ],
)
def test_every_accepted_spelling(choice: Choice, spelling: Any, value: Any) -> None:
    assert choice.parse(spelling) == value


@pytest.mark.parametrize(
    ("choice", "spelling", "message"),
    [
        (ONE, "z", r"'k' cannot be 'z'. Allowed: \['a', 'b', 'c'\]"),
        (ONE, 3, "cannot be 3"),
        (ONE, -1, "cannot be -1"),
        (ONE, True, "cannot be True"),
        (ONE, 1.0, "cannot be 1.0"),
        (ONE, None, "cannot be None"),
        (ONE, [], "takes 1 of .* got 0"),
        (ONE, ["a", "b"], "takes 1 of .* got 2"),
        (ONE, [True, False], "list of booleans has 2 entries"),
        (TWO, ["a"], "takes 2 of .* got 1"),
        (TWO, ["a", "a"], "twice"),
        (TWO, ["a", 0], "twice"),
        (Choice("k", "layer", ("none", "a"), excluded=("none",)), "none", "cannot be 'none'"),
        (Choice("k", "value", (1, 2)), True, "cannot be True"),
        (Choice("k", "repeat", (1, 2)), "1", "cannot be '1'"),
    ],
)
def test_wrong_spellings_are_named(choice: Choice, spelling: Any, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        choice.parse(spelling)


def test_unknown_and_missing_keys_are_named_with_the_nearest() -> None:
    space = SPACES["darts"]
    with pytest.raises(ArchitectureError, match="'s22'.*Did you mean 's2'"):
        space.architecture({"s22": []})
    with pytest.raises(ArchitectureError, match="lacks the key 's2'"):
        space.architecture({})


def test_counter_keys_are_matched_in_order_of_construction() -> None:
    space = SearchSpace([ONE, Choice("i", "input", (0, 1), n_chosen=1),
                         Choice("z", "layer", ("u", "v"))])  # fmt: skip
    by_counter = {"LayerChoice1": 2, "InputChoice2": [False, True], "LayerChoice3": "u"}

    assert dict(space.architecture(by_counter)) == {"k": "c", "i": (1,), "z": "u"}
    with pytest.raises(ArchitectureError, match="counters"):
        space.architecture({"LayerChoice1": 2, "LayerChoice2": 0, "InputChoice3": [0]})


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], "empty"),
        ([ONE, ONE], "Two choices have the key 'k'"),
        ([Choice("a", "layer", ("x",), active_if=((("q", ("y",)),),))], "'q', which is not a key"),
        ([Choice("a", "layer", ("x",), active_if=((("b", ("x",)),),)),
          Choice("b", "layer", ("x",), active_if=((("a", ("x",)),),))], "cycle: a, b"),
    ],
)  # fmt: skip
def test_impossible_spaces_are_refused(choices: list[Choice], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SearchSpace(choices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": ()}, "no candidate"),
        ({"candidates": ("a", "a")}, "equal candidates"),
        ({"candidates": ("a",), "excluded": ("a",)}, "no candidate"),
        ({"candidates": ("a",), "kind": "pool"}, "kind 'pool'"),
        ({"candidates": ("a", "b"), "kind": "input", "n_chosen": 3}, r"\[1, 2\]"),
    ],
)
def test_impossible_choices_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Choice(**{"key": "k", "kind": "layer", **options})


@pytest.mark.parametrize(
    "data", [None, [], {"format": "x"}, {"format": "nas_plugin.space/1"},
             {"format": "nas_plugin.space/1", "choices": [{"key": "a"}]},
             {"format": "nas_plugin.space/1", "choices": [1]},
             *({"format": "nas_plugin.space/1",
                "choices": [{"key": "a", "kind": "layer", "candidates": ["x", "y"], **wrong}]}
               for wrong in ({"candidates": "xy"}, {"candidates": [["x"]]}, {"candidates": None},
                             {"kind": "pool"}, {"kind": "input", "n_chosen": 1.5},
                             {"kind": "input", "n_chosen": "1"}, {"excluded": "x"},
                             {"active_if": 3}, {"active_if": [[{"key": "b"}]]},
                             {"active_if": [[{"key": "b", "values": ["x"]}]]}))]
)  # fmt: skip
def test_what_is_no_space_is_refused(data: Any) -> None:
    with pytest.raises(SpaceError):
        SearchSpace.from_json(data)


def test_discretize_keeps_the_two_strongest_edges_and_never_none() -> None:
    space = SPACES["darts"]
    scores = {
        "n2_p0": [0.9, 0.06, 0.04], "n2_p1": [0.1, 0.2, 0.7],
        # none is strongest on p0, but its best real candidate is the weakest of the three.
        "n3_p0": [0.9, 0.06, 0.04], "n3_p1": [0.2, 0.5, 0.3], "n3_p2": [0.3, 0.3, 0.4],
    }  # fmt: skip
    found = discretize(space, scores)

    assert found["s2"] == ("n2_p0", "n2_p1")
    assert found["n2_p0"] == "a"
    assert found["s3"] == ("n3_p1", "n3_p2")
    assert (found["n3_p1"], found["n3_p2"]) == ("a", "b")
    assert "n3_p0" not in found


def test_discretize_of_free_inputs_depths_and_missing_scores() -> None:
    space = SearchSpace([Choice("any", "input", (0, 1, 2), n_chosen=None),
                         Choice("two", "input", (0, 1, 2), n_chosen=2),
                         Choice("d", "repeat", (1, 2))])  # fmt: skip
    scores = {"any": [0.6, 0.5, 0.51], "two": [0.1, 0.2, 0.7], "d": [0.4, 0.6]}

    assert dict(discretize(space, scores)) == {"any": (0, 2), "two": (1, 2), "d": 2}
    with pytest.raises(SpaceError, match="'d' needs 2 scores"):
        discretize(space, {**scores, "d": [1.0]})


def test_architectures_are_plain_and_immutable() -> None:
    architecture = Architecture({"b": ("x", "y"), "a": "z"})

    assert architecture.dumps() == '{\n  "a": "z",\n  "b": [\n    "x",\n    "y"\n  ]\n}\n'
    assert architecture == Architecture({"a": "z", "b": ("x", "y")})
    assert len({architecture, Architecture({"a": "z", "b": ("x", "y")})}) == 1
    with pytest.raises(TypeError):
        architecture["a"] = "y"  # type: ignore[index]


def test_a_space_of_one_has_nothing_to_mutate() -> None:
    space = SearchSpace([Choice("a", "layer", ("x",))])
    with pytest.raises(SpaceError, match="second value"):
        mutate(space, space.first(), Random(0))
