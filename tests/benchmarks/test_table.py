from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from nas_plugin.benchmarks.table import Column, Table, write_table
from nas_plugin.errors import FileError

ACCURACY = Column("accuracy", "cifar10", 12, "valid")


@pytest.fixture
def path(tmp_path):
    return write_table(
        tmp_path / "tiny.nastab",
        kind="user",
        name="tiny",
        release="made by a test",
        datasets=["cifar10"],
        columns={ACCURACY: np.arange(5, dtype=np.float32), Column("params"): np.arange(5.0)},
        arrays={"choices": np.zeros((5, 2), np.uint16)},
        source={"raw.csv": "0" * 64},
    )


def test_what_was_written_is_read(path):
    table = Table(path)
    assert table.rows == 5 and table.columns == [ACCURACY, Column("params")]
    assert table.values(ACCURACY).tolist() == [0, 1, 2, 3, 4]
    assert table.array("choices").shape == (5, 2)
    table.verify()


def test_arrays_are_read_only(path):
    with pytest.raises(ValueError, match="read-only"):
        Table(path).values(ACCURACY)[:] = 0


def test_the_hash_is_that_of_the_data(path):
    header = Table(path).header
    data = path.read_bytes()[header["data_start"] :]
    assert hashlib.sha256(data).hexdigest() == header["data_sha256"]


def test_changed_data_is_found_by_verify(path):
    content = bytearray(path.read_bytes())
    content[-64] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="damaged"):
        Table(path).verify()


def test_every_changed_header_byte_is_found_on_opening(path):
    content = path.read_bytes()
    for position in range(0, Table(path).header["data_start"], 11):
        changed = bytearray(content)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(FileError):
            Table(path)


def test_every_truncation_is_found_on_opening(path):
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(FileError):
            Table(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(FileError, match="truncated or was changed"):
        Table(path)


def _rewrite(path, change):
    """Forges a consistent header, as somebody who knows the format could."""
    table = Table(path)
    data = path.read_bytes()[table.header.pop("data_start") :]
    change(table.header)
    text = json.dumps(table.header).encode()
    head = b"NASTABLE" + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest()
    path.write_bytes(head + text + data)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["columns"][0].update(offset=-8),
        lambda h: h["columns"][0].update(offset=10**12),
        lambda h: h["columns"][0].update(shape=[10**9]),
        lambda h: h["columns"][0].update(shape=[-1]),
        lambda h: h["columns"][0].update(dtype="|O"),
        lambda h: h["columns"][0].update(dtype=7),
        lambda h: h["columns"][0]["column"].update(extra=1),
        lambda h: h["columns"][0].pop("offset"),
        lambda h: h.pop("rows"),
        lambda h: h.update(arrays=3),
        lambda h: h.update(format="other/1"),
    ],
)
def test_forged_directories_are_refused(path, change):
    with pytest.raises(FileError):
        Table(_rewrite(path, change)).values(ACCURACY)


def test_another_file_is_refused_with_the_next_step(tmp_path):
    other = tmp_path / "other.nastab"
    other.write_text("hello")
    with pytest.raises(FileError, match="bench import"):
        Table(other)
    with pytest.raises(FileError, match="There is no file"):
        Table(tmp_path / "missing.nastab")


def test_columns_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(FileError, match="different numbers of rows"):
        write_table(
            tmp_path / "bad.nastab",
            kind="user",
            name="bad",
            release="",
            datasets=[],
            columns={ACCURACY: np.zeros(3)},
            arrays={"choices": np.zeros((4, 1), np.uint16)},
            source={},
        )
    assert list(tmp_path.iterdir()) == []
