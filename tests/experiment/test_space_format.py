from __future__ import annotations

import json
from random import Random

import pytest

from nas_plugin.errors import ArchitectureError, OptionError, SpaceError
from nas_plugin.experiment.space_format import from_nni, from_parameters, to_nni, to_parameters
from nas_plugin.space import Choice, SearchSpace

NAMES = ("max", "avg", "none")


@pytest.fixture
def space():
    return SearchSpace(
        [
            Choice("width", "value", (16, 32)),
            Choice("bias", "value", (True, False)),
            Choice("depth", "repeat", (1, 2)),
            Choice("edge", "layer", NAMES, excluded=("none",)),
            Choice("inner", "layer", ("a", "b"), active_if=((("edge", ("max",)),),)),
            Choice("one", "input", ("p", "q", "r")),
            Choice("two", "input", (0, 1, 2), n_chosen=2),
            Choice("any", "input", ("x+y", "z"), n_chosen=None),
        ]
    )


@pytest.mark.parametrize("form", ["flat", "nni"])
def test_a_space_survives_its_file(space, form):
    assert from_nni(json.loads(json.dumps(to_nni(space, form)))) == space


@pytest.mark.parametrize("form", ["flat", "nni"])
def test_every_architecture_survives_the_parameters(space, form):
    rng = Random(0)
    for _ in range(100):
        architecture = space.sample(rng)
        parameters = json.loads(json.dumps(to_parameters(architecture)))
        assert all(isinstance(value, (str, int, float)) for value in parameters.values())
        assert from_parameters(parameters, space) == architecture


def test_the_flat_form_lists_every_value_as_a_plain_choice(space):
    flat = to_nni(space)
    assert {spec["_type"] for spec in flat.values()} == {"choice"}
    assert flat["edge"]["_value"] == ["max", "avg"]
    assert flat["two"]["_value"] == ["[0, 1]", "[0, 2]", "[1, 2]"]
    assert flat["any"]["_value"] == ["()", '["x+y"]', "z", '["x+y", "z"]']
    rng = Random(0)
    for _ in range(100):  # what a tuner that knows only the lists may propose
        drawn = {key: rng.choice(spec["_value"]) for key, spec in flat.items()}
        assert set(from_parameters(drawn, space)) <= set(space)


def test_the_nni_form_is_that_of_1_x(space):
    nni = to_nni(space, "nni")
    assert nni["edge"]["_type"] == "layer_choice" and nni["edge"]["_value"] == list(NAMES)
    assert nni["two"]["_value"] == {"candidates": [0, 1, 2], "n_chosen": 2}


def test_a_file_of_nni_1_x_is_read_with_its_parameters():
    space = from_nni(
        {
            "first_conv": {"_type": "layer_choice", "_value": ["conv5x5", "conv3x3"]},
            "skip": {"_type": "input_choice", "_value": {"candidates": ["", ""], "n_chosen": 1}},
            "loose": {"_type": "input_choice", "_value": {"candidates": ["a", "b"]}},
        }
    )
    assert space["skip"].candidates == (0, 1) and space["loose"].n_chosen is None
    proposed = {
        "first_conv": {"_value": "conv3x3", "_idx": 1},
        "skip": {"_value": [""], "_idx": [0]},
        "loose": {"_value": [], "_idx": []},
    }
    assert from_parameters(proposed, space).to_json() == {
        "first_conv": "conv3x3",
        "skip": [0],
        "loose": [],
    }


def test_too_many_values_send_to_the_other_form():
    space = SearchSpace([Choice("in", "input", tuple(range(12)), n_chosen=None)])
    with pytest.raises(SpaceError, match="4096 values.*'nni'"):
        to_nni(space)
    assert from_nni(to_nni(space, "nni")) == space


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"a": 1},
        {"a": {"_type": "choice"}},
        {"a": {"_type": "uniform", "_value": [0, 1]}},
        {"a": {"_type": "choice", "_value": 3}},
        {"a": {"_type": "choice", "_value": []}},
        {"a": {"_type": "choice", "_value": [{"_name": "b"}]}},
        {"a": {"_type": "layer_choice", "_value": ["x"], "_choice": 3}},
        {},
    ],
    ids=str,
)
def test_a_space_that_cannot_be_searched_is_refused(data):
    with pytest.raises(SpaceError):
        from_nni(data)


def test_wrong_parameters_and_forms_are_refused(space):
    with pytest.raises(OptionError, match="flat, nni"):
        to_nni(space, "yaml")
    with pytest.raises(ArchitectureError):
        from_parameters([], space)
    good = to_parameters(space.first())
    with pytest.raises(ArchitectureError, match="two"):
        from_parameters({**good, "two": "[0,"}, space)
