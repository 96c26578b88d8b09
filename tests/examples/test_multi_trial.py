"""The script that trains every child, at its smallest."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from nas_plugin.cli import guarded

PATH = Path(__file__).parents[2] / "examples" / "multi_trial" / "search.py"
SMALL = ["--workers", "0", "--limit", "60", "--epochs", "1", "--seed", "1"]

spec = importlib.util.spec_from_file_location("multi_trial_search", PATH)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def run(*words: object) -> int:
    return guarded(lambda: script.run(script.parse([str(word) for word in (*SMALL, *words)])))


def test_a_search_that_was_stopped_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    assert run("--trials", 4, "--out", whole) == 0
    assert run("--trials", 2, "--out", broken) == 0
    assert run("--trials", 4, "--out", broken) == 0

    for name in ("architecture.json", "front.json"):
        assert (whole / name).read_text() == (broken / name).read_text()
    assert json.loads((whole / "architecture.json").read_text())["width"] in (4, 8, 16, 24)


def test_a_front_holds_what_nothing_dominates(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    assert run("--trials", 4, "--strategy", "nsga2", "--option", "population=2",
               "--out", tmp_path) == 0  # fmt: skip

    front = json.loads((tmp_path / "front.json").read_text())
    points = [(entry["accuracy"], -entry["params"]) for entry in front]
    assert points == sorted(points, reverse=True)
    assert not any(a[0] >= b[0] and a[1] >= b[1] for a in points for b in points if a != b)
    assert (tmp_path / "front.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "evolution"], "evolution"),
        (["--option", "population"], "--option takes NAME=VALUE, got 'population'"),
        (["--option", "speed=3"], "has no argument 'speed'"),
        (["--trials", "0"], "trials must be positive"),
    ],
)
def test_wrong_flags_are_named(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--out", tmp_path) != 0
    assert message in capsys.readouterr().err
