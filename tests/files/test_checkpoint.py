"""Checkpoints: what is damaged, foreign or hostile is noticed."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_plugin.errors import CheckpointError, FileError
from nas_plugin.files import load_checkpoint, load_latest, save_checkpoint, save_rotating
from nas_plugin.files.checkpoint import _MAGIC

STATE: dict[str, Any] = {
    "tensor": torch.arange(12.0).reshape(3, 4),
    "numbers": [1, 2.5, True, None, "text"],
    "nested": {"a": {0: torch.tensor(3, dtype=torch.uint8)}, "pair": (0.9, 0.999)},
}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", STATE)
    found = load_checkpoint(tmp_path / "c")

    assert torch.equal(found["tensor"], STATE["tensor"])
    assert found["numbers"] == STATE["numbers"]
    assert found["nested"]["pair"] == (0.9, 0.999)


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"a": np.float64(1.0)}, r"state\['a'\] is a float64"),
        ({"a": [np.zeros(2)]}, r"state\['a'\]\[0\] is a ndarray"),
        ({"a": {"b": Path("x")}}, r"state\['a'\]\['b'\] is a "),
        ({"a": print}, "cannot hold"),
    ],
)
def test_what_would_need_code_is_refused_before_saving(
    tmp_path: Path, state: Any, where: str
) -> None:
    with pytest.raises(CheckpointError, match=where):
        save_checkpoint(tmp_path / "c", state)
    assert not os.listdir(tmp_path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", STATE)
    data = (tmp_path / "c").read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        position = rng.randrange(len(data))
        damaged[position] ^= 1 << rng.randrange(8)
        (tmp_path / "d").write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "d")


@pytest.mark.parametrize("part", [0.0, 0.005, 0.05, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_noticed(tmp_path: Path, part: float) -> None:
    save_checkpoint(tmp_path / "c", STATE)
    data = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c")


def test_foreign_files_are_named(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "t")
    with pytest.raises(CheckpointError, match=r"but a file of torch\.save"):
        load_checkpoint(tmp_path / "t")
    (tmp_path / "t").write_text("hello")
    with pytest.raises(CheckpointError, match="something else"):
        load_checkpoint(tmp_path / "t")
    with pytest.raises(FileError, match="no file"):
        load_checkpoint(tmp_path / "none")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hacked",)


def test_a_hostile_payload_with_a_right_checksum_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib
    import io

    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"a": Hostile()}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    (tmp_path / "c").write_bytes(_MAGIC + digest + b"\n" + buffer.getvalue())
    with pytest.raises(CheckpointError, match="not loaded"):
        load_checkpoint(tmp_path / "c")
    assert not (tmp_path / "hacked").exists()


def test_the_newest_two_are_kept_and_a_damaged_one_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_latest(tmp_path) is None
    for step in (9, 10, 11):
        save_rotating(tmp_path, {"step": step}, step)
    assert sorted(os.listdir(tmp_path)) == ["step_10.ckpt", "step_11.ckpt"]
    latest = load_latest(tmp_path)
    assert latest is not None and latest["step"] == 11

    (tmp_path / "step_11.ckpt").write_bytes(b"rubbish")
    before = load_latest(tmp_path)
    assert before is not None and before["step"] == 10
    assert "step_11.ckpt is not a checkpoint" in caplog.text

    (tmp_path / "step_10.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="No checkpoint in"):
        load_latest(tmp_path)
