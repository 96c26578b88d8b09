from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from nas_plugin.errors import FileError
from nas_plugin.experiment.journal import Journal, journal_path, read_journal


def test_events_come_back_numbered_and_whole(tmp_path):
    path = journal_path(tmp_path)
    journal = Journal(path)
    journal.append("ask", parameter=0, architecture={"a": "x"})
    journal.append("end", metrics={"default": 0.5})
    journal.close()

    events = list(read_journal(path))

    assert [(e["n"], e["event"]) for e in events] == [(0, "ask"), (1, "end")]
    assert events[0]["architecture"] == {"a": "x"} and events[1]["time"] > 0


def test_every_cut_of_the_file_gives_the_complete_lines_and_can_be_continued(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for i in range(4):
        journal.append("ask", parameter=i)
    journal.close()
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        complete = whole[:size].count(b"\n")
        assert len(list(read_journal(path))) == complete
        again = Journal(path)
        again.append("more")
        again.close()
        assert [e["n"] for e in read_journal(path)] == list(range(complete + 1))


def test_an_event_is_on_disk_when_append_returns(tmp_path):
    path = tmp_path / "journal.jsonl"
    script = (
        "import sys, os, signal; from pathlib import Path\n"
        "from nas_plugin.experiment.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); journal.append('ask', parameter=7)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [e["parameter"] for e in read_journal(path)] == [7]


@pytest.mark.parametrize("change", ["drop", "swap", "garbage", "foreign"])
def test_a_changed_journal_is_refused_with_its_line(tmp_path, change):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for number in range(4):
        journal.append("ask", parameter=number)
    journal.close()
    lines = path.read_text().splitlines()
    if change == "drop":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "garbage":
        lines[1] = "{"
    else:
        lines[1] = "[1]"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(FileError, match="line 2"):
        list(read_journal(path))


def test_values_that_are_no_json_are_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for value in (float("nan"), object()):
        with pytest.raises(FileError, match="ask"):
            journal.append("ask", value=value)
    journal.append("ask", value=1)
    journal.close()
    assert [e["value"] for e in read_journal(path)] == [1]


def test_a_missing_journal_says_which_experiments_have_one(tmp_path):
    with pytest.raises(FileError, match="NasTuner"):
        list(read_journal(tmp_path / "none"))


def test_a_reader_may_read_while_another_writes(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("ask")
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(handle, b'{"n":1,"eve')
    os.close(handle)
    assert len(list(read_journal(path))) == 1
    journal.close()


def written(path):
    journal = Journal(path)
    for number, value in enumerate((0.5, 0.75, 0.25)):
        journal.append("end", parameter=number, metrics={"default": value})
    journal.close()
    return path.read_bytes()


def test_the_check_sum_is_that_of_the_line_before_it(tmp_path):
    for line in written(tmp_path / "j").splitlines():
        entry = json.loads(line)
        body = line[: line.index(b',"sum"')] + b"}"
        assert entry["sum"] == hashlib.sha256(body).hexdigest()[:16]


def test_every_flipped_bit_of_a_line_is_noticed(tmp_path):
    path = tmp_path / "j"
    whole = written(path)
    start = whole.index(b"\n") + 1
    end = whole.index(b"\n", start)
    for place in range(start, end):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(FileError, match="line 2"):
                list(read_journal(path))


@pytest.mark.parametrize("value", ["NaN", "9e99", "0.76"])
def test_an_edited_line_is_named_and_left_out(tmp_path, value):
    path = tmp_path / "j"
    path.write_bytes(written(path).replace(b"0.75", value.encode()))
    named = []
    events = list(read_journal(path, named.append))
    assert [event["parameter"] for event in events] == [0, 2]
    assert len(named) == 1 and "line 2" in named[0] and "check sum" in named[0]


def test_missing_and_doubled_lines_are_named_and_nothing_counts_twice(tmp_path):
    path = tmp_path / "j"
    first, second, third = written(path).splitlines(keepends=True)
    named = []
    path.write_bytes(first + third + third + second)
    events = list(read_journal(path, named.append))
    assert [event["parameter"] for event in events] == [0, 2]
    assert [name.split(":")[0][-6:] for name in named] == ["line 2", "line 3", "line 4"]
