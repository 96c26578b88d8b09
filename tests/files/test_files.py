"""Reading what came from outside, and writing that survives a crash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nas_plugin.errors import FileError
from nas_plugin.files import (
    append_line,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    write_atomic,
    write_json,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{'a': 1}", "not JSON: .* line 1, column 2"),
        ('{"a": 1, "a": 2}', "key 'a' twice"),
        ('{"a": {"b": 1, "b": 2}}', "key 'b' twice"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ('{"a": 1e999}', "out of range"),
        ("[" * 65 + "]" * 65, "nested 65 deep"),
        ('{"a":' * 100_000, "nested 100000 deep"),
        ('{"a": 1' + "0" * 5000 + "}", "of 5001 digits; 20 is the most"),
        ('{"a": 1} x', "not JSON"),
    ],
)
def test_what_is_not_plain_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        parse_json(text, "it")


def test_brackets_in_strings_are_not_depth() -> None:
    assert parse_json('{"a": "[[[\\"{{{"}', "it", max_depth=1) == {"a": '[[["{{{'}


def test_text_is_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa4"}')
    assert read_json(file) == {"a": "ä"}
    file.write_bytes(b"ok\xff")
    with pytest.raises(FileError, match=r"not UTF-8 text \(byte 2\)"):
        read_text(file)


def test_sizes_are_bounded_also_after_unpacking(tmp_path: Path) -> None:
    import gzip

    file = tmp_path / "big.gz"
    file.write_bytes(gzip.compress(bytes(10_000)))
    assert len(read_bytes(file, 10_000)) == 10_000
    with pytest.raises(FileError, match="more than 9999 bytes"):
        read_bytes(file, 9_999)
    with pytest.raises(FileError, match="There is no file"):
        read_bytes(tmp_path / "none", 1)
    with pytest.raises(FileError, match="cannot be read"):
        read_bytes(tmp_path, 1)


class CrashError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod", "fdopen"])
def test_a_crash_at_any_step_leaves_the_old_content_and_no_rubbish(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomic(file, "old")

    def crash(*_: Any, **__: Any) -> Any:
        raise CrashError

    monkeypatch.setattr(os, step, crash)
    with pytest.raises(CrashError):
        write_atomic(file, "new")
    monkeypatch.undo()

    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_file_and_folder_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, real=real, name=name: (order.append(name), real(*a))
        )
    write_atomic(tmp_path / "f", b"x")

    assert order == ["fsync", "replace", "fsync"]


def test_new_files_have_the_usual_mode(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "f", "x")
    finally:
        os.umask(before)

    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o644


def test_json_is_sorted_and_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "f", {"b": 1, "a": [2]})
    assert (tmp_path / "f").read_text() == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "f", float("nan"))
    assert read_json(tmp_path / "f") == {"a": [2], "b": 1}


def test_lines_are_appended(tmp_path: Path) -> None:
    for line in ("one", "two\n"):
        append_line(tmp_path / "f", line)

    assert (tmp_path / "f").read_text() == "one\ntwo\n"
