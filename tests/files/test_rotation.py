"""The latest checkpoints of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.files import find_latest, load_latest, save_rotating


def test_what_was_used_and_what_was_passed_over_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_rotating(tmp_path, {"step": 1}, 1)
    damaged = save_rotating(tmp_path, {"step": 2}, 2)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = find_latest(tmp_path)

    assert found is not None
    assert (found.path.name, found.state) == ("step_1.ckpt", {"step": 1})
    assert len(found.problems) == 1
    assert "step_2.ckpt was cut off" in found.problems[0]
    assert "Going on from step_1.ckpt instead" in caplog.text


def test_what_was_just_saved_is_the_latest_even_after_falling_back(tmp_path: Path) -> None:
    for step in (10, 20):
        save_rotating(tmp_path, {"step": step}, step)
    for path in tmp_path.iterdir():
        if path.name == "step_20.ckpt":
            path.write_bytes(b"damaged")
    save_rotating(tmp_path, {"step": 15}, 15)

    assert sorted(os.listdir(tmp_path)) == ["step_10.ckpt", "step_15.ckpt"]
    assert load_latest(tmp_path) == {"step": 15}


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save_rotating(tmp_path, {"step": step}, step, keep=3)

    assert load_latest(tmp_path) == {"step": 100}


def test_parts_of_killed_processes_are_removed_and_other_files_are_not(tmp_path: Path) -> None:
    for name in (".step_1.ckpt.0123.tmp", "notes.txt", "step_x.ckpt"):
        (tmp_path / name).write_text("x")
    save_rotating(tmp_path, {}, 2)

    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "step_2.ckpt", "step_x.ckpt"]


@pytest.mark.parametrize(("step", "keep"), [(-1, 2), (1, 0)])
def test_steps_and_counts_that_would_lose_files_are_refused(
    tmp_path: Path, step: int, keep: int
) -> None:
    with pytest.raises(OptionError, match="got"):
        save_rotating(tmp_path, {}, step, keep=keep)
    assert not os.listdir(tmp_path)
