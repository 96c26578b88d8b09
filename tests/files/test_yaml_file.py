"""YAML from outside: what it says is what it means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nas_plugin.errors import FileError
from nas_plugin.files import read_yaml


def read(folder: Path, text: str) -> Any:
    file = folder / "a.yml"
    file.write_text(text, encoding="utf-8")
    return read_yaml(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("no", "no"),
        ("off", "off"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("null", None),
        ("~", None),
        ("'1'", "1"),
        ("=", "="),
        ("", None),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
    ],
)
def test_scalars_follow_the_core_schema(tmp_path: Path, text: str, value: Any) -> None:
    found = read(tmp_path, text)

    assert found == value
    assert type(found) is type(value)


def test_anchors_and_merges_of_usual_size_work(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: *b, z: [*a, *a]}\n"
    ours = {"x": 1, "y": 2}

    assert read(tmp_path, text) == {
        "a": ours,
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 3, "z": [ours, ours]},
    }


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' was already given in line 1"),
        ("x: {a: 1, 'a': 2}", "'a' was already given"),
        ("1: a\n0x1: b\n", "'1' was already given"),
        ("<<: {a: 1}\n<<: {b: 1}\n", "'<<' was already given"),
        ("[a]: 1", "a key must be text or a number"),
        ("!!seq a: 1", "expected a sequence node"),
        (BOMB, "too large or too deep"),
        (CHAIN, "too large or too deep"),
        ("s: &s " + "x" * 5000 + "\nl: [" + "*s, " * 5000 + "]", "too large or too deep"),
        ("a: &a [*a]", "line 1, column 8: an alias stands inside its own anchor"),
        ("[" * 5000 + "]" * 5000, "column 65: nested more than 64 deep"),
        ("a: .inf", r"column 4: \.inf is not a finite number"),
        ("a: -.INF", "is not a finite number"),
        ("a: .NaN", "is not a finite number"),
        ("a: 1e999", "not a finite number"),
        (
            "a: !!python/object/apply:os.system ['touch hacked']",
            "could not determine a constructor",
        ),
        ("a: !!timestamp 2020-01-01", "could not determine a constructor"),
        ("a: !!bool maybe", "neither true nor false"),
        ("a: !!int x", "not YAML that can be read"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("a: [1, 2", "line 1"),
        ("a: *b", "undefined alias"),
        ("a: \x01", "not YAML that can be read"),
        ("a: " + "9" * 5000, "not YAML that can be read"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=rf"a\.yml.*{message}"):
        read(tmp_path, text)
    assert os.listdir(tmp_path) == ["a.yml"]


def test_large_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="more than 1048576 bytes"):
        read(tmp_path, "#" * 2**20 + "\n")
