"""JSON from outside, against the standard library's own reading."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import json_tricks
import numpy as np
import pytest

from nas_plugin.errors import FileError
from nas_plugin.files import parse_json, read_json


def random_value(rng: random.Random, depth: int = 4) -> Any:
    kind = rng.randrange(7 if depth else 5)
    if kind == 5:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {random_text(rng): random_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return [None, rng.random() < 0.5, rng.randrange(-99, 99), rng.uniform(-9, 9), random_text(rng)][
        kind
    ]


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice('ab"\\[]{}:,\n ä\U0001f600') for _ in range(rng.randrange(6)))


def test_what_the_standard_library_writes_is_read_as_it_was() -> None:
    rng = random.Random(0)
    for i in range(500):
        value = random_value(rng)
        text = json.dumps(value, ensure_ascii=bool(i % 2), indent=rng.choice([None, 1]))
        assert parse_json(text, "it") == value


def test_cut_or_changed_text_is_refused_or_read_as_the_standard_library_does() -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("duplicate")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    rng = random.Random(1)
    agreed = 0
    for _ in range(1500):
        text = json.dumps(random_value(rng))
        position = rng.randrange(len(text))
        text = (
            text[:position]
            + rng.choice(['"', "\\", "{", "]", "NaN", ":", ""]) * rng.choice([1, 2])
            + text[position + rng.randrange(3) :]
        )
        try:
            expected = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
            json.dumps(expected, ensure_ascii=False).encode()
        except ValueError:
            with pytest.raises(FileError):
                parse_json(text, "it")
        else:
            agreed += 1
            assert parse_json(text, "it") == expected
    assert agreed > 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "a": 1,\n  "a": 2}', r"'a' twice.*\(line 3, column 3\)"),
        ('{"a": 1, "\\u0061": 2}', "'a' twice"),
        ("[1,\n NaN]", r"holds NaN.*\(line 2, column 2\)"),
        ('"\\ud800"', "half of a character"),
        ("[" * 70, r"nested 70 deep; 64.*\(line 1, column 65\)"),
    ],
)
def test_refusals_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FileError, match=rf"a\.json.*{message}"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["[" + '\\"' * 200_000, '"' * 200_001, '"' + "\\" * 200_001, "-" * 200_000]
)
def test_text_made_to_be_slow_is_refused_at_once(text: str) -> None:
    with pytest.raises(FileError):
        parse_json(text, "it")


def test_numpy_values_of_json_tricks_come_back_as_plain_values() -> None:
    value = {"mask": np.array([[True], [False]]), "n": np.arange(3), "x": np.zeros((0, 2), "f4")}
    text = json_tricks.dumps(value)

    assert parse_json(text, "it") == {"mask": [[True], [False]], "n": [0, 1, 2], "x": []}


def numpy_entry(data: Any, dtype: Any = "int64", shape: Any = None) -> dict[str, Any]:
    return {"__ndarray__": data, "dtype": dtype, "shape": [] if shape is None else shape}


@pytest.mark.parametrize(
    "entry",
    [
        numpy_entry("secret", "loadtxt"),
        numpy_entry("secret", "memmap"),
        numpy_entry(1, "object"),
        numpy_entry([1], ["int64"], [1]),
        numpy_entry("b64.gz:H4sIAAAAAAAA", "int8", [1000]),
        numpy_entry([1, 2], "int64", [3]),
        numpy_entry([[1], [2, 3]], "int64", [2, 1]),
        numpy_entry([0], "int64", [10**15, 0]),
        numpy_entry([300], "int8", [1]),
        numpy_entry([1.5], "int64", [1]),
        numpy_entry([1e300], "float32", [1]),
        numpy_entry([None], "float64", [1]),
        numpy_entry(["1"], "int64", [1]),
        numpy_entry([{}], "int64", [1]),
        {"__ndarray__": [1]},
    ],
)
def test_numpy_entries_that_reach_further_are_refused(
    entry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("1 2 3")
    with pytest.raises(FileError, match="numpy value"):
        parse_json(json.dumps({"a": entry}), "it")
    assert Path("secret").read_text() == "1 2 3"
