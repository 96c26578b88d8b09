"""Writing: what fails leaves what was there."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from nas_plugin.errors import FileError
from nas_plugin.files import append_line, atomic_open, write_atomic


@pytest.mark.parametrize("step", ["open", "fdopen", "fsync", "replace"])
def test_a_full_disk_at_any_step_is_an_error_that_names_the_file(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomic(file, "old")

    def full(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(FileError, match=r"f cannot be written: No space left on device\."):
        write_atomic(file, "new")
    monkeypatch.undo()

    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_content(
    tmp_path: Path, error: type[BaseException]
) -> None:
    file = tmp_path / "f"
    write_atomic(file, "old")
    with pytest.raises(error), atomic_open(file) as out:
        out.write(b"half")
        raise error

    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_the_mode_of_a_file_is_kept_and_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "f", tmp_path / "link"
    write_atomic(file, "old")
    file.chmod(0o600)
    link.symlink_to(file)
    write_atomic(link, "new")

    assert link.is_symlink()
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    for write in (write_atomic, append_line):
        with pytest.raises(FileError, match="none/f cannot be written: No such file"):
            write(tmp_path / "none" / "f", "x")


def test_a_line_that_was_cut_off_is_the_only_one_lost(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text('{"a": 1}\n{"b"')
    append_line(file, '{"c": 3}', fsync=False)

    assert file.read_text() == '{"a": 1}\n{"b"\n{"c": 3}\n'


def test_lines_are_synced_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    append_line(tmp_path / "f", "a", fsync=False)
    assert not synced
    append_line(tmp_path / "f", "b")
    assert len(synced) == 1


def test_a_line_holds_no_line_break(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="line break inside"):
        append_line(tmp_path / "f", "a\nb")
    assert not (tmp_path / "f").exists()
