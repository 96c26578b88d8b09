"""Errors of shapes name the file and the key, and say what was found and expected."""

from __future__ import annotations

import pytest

from nas_plugin.errors import FileError, SpaceError
from nas_plugin.files.shape import FLAG, NUMBER, TEXT, WHOLE, Optional, check_json

SHAPE = {"name": TEXT, "costs": {str: {str: NUMBER}}, Optional("n"): WHOLE, Optional("on"): FLAG}
GOOD = {"name": "a", "costs": {"k": {"x": 1, "y": 0.5}}, "n": 3, "on": False}


def test_what_has_the_shape_comes_back_as_it_is() -> None:
    assert check_json(GOOD, SHAPE, "f.json") is GOOD
    assert check_json({**GOOD, "more": 1}, SHAPE, "f.json", extra=True)["more"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "f.json: key 'name': found 1, expected text."),
        ({"n": True}, "f.json: key 'n': found True, expected a whole number."),
        ({"n": 1.0}, "f.json: key 'n': found 1.0, expected a whole number."),
        ({"on": 0}, "f.json: key 'on': found 0, expected true or false."),
        (
            {"costs": {"k": {"x": "cheap"}}},
            "f.json: key 'x' of key 'k' of key 'costs': found 'cheap', expected a number.",
        ),
        (
            {"more": 1},
            "f.json: unknown key 'more'; known are 'name', 'costs', 'n', 'on'.",
        ),
    ],
)
def test_another_shape_is_one_clear_error(change, message) -> None:
    with pytest.raises(FileError) as found:
        check_json({**GOOD, **change}, SHAPE, "f.json")
    assert str(found.value) == message


def test_missing_keys_and_other_kinds_are_named() -> None:
    with pytest.raises(SpaceError, match=r"f\.json: lacks the key 'costs'\."):
        check_json({"name": "a"}, SHAPE, "f.json", SpaceError)
    with pytest.raises(FileError, match=r"f\.json: expected a JSON object, found \[1\]\."):
        check_json([1], SHAPE, "f.json")


def test_true_is_no_whole_number() -> None:
    with pytest.raises(FileError, match="found True, expected a whole number"):
        check_json({"n": True}, {"n": WHOLE}, "f.json")
