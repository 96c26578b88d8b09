"""What a checkpoint may hold, and what is said of a file that is none."""

from __future__ import annotations

import collections
import io
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from nas_plugin.errors import CheckpointError
from nas_plugin.files import load_checkpoint, save_checkpoint


class Pair(NamedTuple):
    first: int
    second: int


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        collections.defaultdict(int, a=1),
        Pair(1, 2),
        {np.str_("k"): 1},
        {(1, Text("k")): 1},
        types.MappingProxyType({"a": 1}),
        {1, 2},
        np.int64(3),
        Text("a"),
        1j,
        torch.Generator(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_save_and_not_load_is_refused_before_saving(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"state\['run'\]\[0\]"):
        save_checkpoint(tmp_path / "c", {"run": [value]})
    assert not (tmp_path / "c").exists()


def test_a_state_that_holds_itself_is_refused(tmp_path: Path) -> None:
    state: dict[str, Any] = {}
    state["again"] = state
    with pytest.raises(CheckpointError, match="holds itself"):
        save_checkpoint(tmp_path / "c", state)


def test_all_that_is_accepted_comes_back_as_it_was(tmp_path: Path) -> None:
    plain = {
        "scalars": [None, True, 2**130, -1.5, float("inf"), "ä", b"\x00\xff"],
        ("a", 1): {"b": ()},
        "types": (torch.float64, torch.Size([2, 3])),
    }
    save_checkpoint(tmp_path / "c", {**plain, "none": torch.zeros(0, 3)})
    found = load_checkpoint(tmp_path / "c")

    assert found.pop("none").shape == (0, 3)
    assert found == plain


def test_states_of_modules_and_optimizers_come_back(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(3, 2)).square().sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "c", {"model": model.state_dict(), "o": optimizer.state_dict()})
    found = load_checkpoint(tmp_path / "c")

    for name, tensor in model.state_dict().items():
        assert torch.equal(found["model"][name], tensor)
    for slot, entry in optimizer.state_dict()["state"].items():
        assert torch.equal(found["o"]["state"][slot]["exp_avg_sq"], entry["exp_avg_sq"])


def test_each_kind_of_damage_has_its_message(tmp_path: Path) -> None:
    file = tmp_path / "c"
    save_checkpoint(file, {"x": torch.arange(100)})
    data = file.read_bytes()
    old = io.BytesIO()
    torch.save({}, old, _use_new_zipfile_serialization=False)
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    cases = {
        "cut off after 0 bytes, inside its header": b"",
        "cut off after 40 bytes, inside its header": data[:40],
        f"cut off after {middle} bytes": data[:middle],
        "is damaged: the content does not fit its checksum": flipped,
        "damaged in its header": data[:30] + b"\n" + data[31:],
        "of format '7'; this version reads": data.replace(b"checkpoint 1", b"checkpoint 7", 1),
        "an old file of torch.save": old.getvalue(),
        "something else": b"\x89PNG" + data,
    }
    for message, content in cases.items():
        file.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(file)
        assert message in str(caught.value)
        assert str(file) in str(caught.value)


def test_every_length_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "c"
    save_checkpoint(file, {"x": 1})
    data = file.read_bytes()
    for length in {*range(120), *range(120, len(data), 37), len(data) - 1}:
        file.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(file)
    file.write_bytes(data + b"\x00")
    with pytest.raises(CheckpointError):
        load_checkpoint(file)


@pytest.mark.processes
def test_files_are_read_and_written_without_torch() -> None:
    code = "import nas_plugin.files, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]

    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
