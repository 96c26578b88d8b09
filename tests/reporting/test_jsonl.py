from __future__ import annotations

import json
import math

import pytest

from nas_plugin.errors import FileError, OptionError
from nas_plugin.reporting import JsonlLog, read_jsonl


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def record(step: int) -> dict[str, object]:
    return {"step": step, "epoch": 0, "phase": "train", "loss": 1 / (step + 1)}


def test_records_come_back_as_they_were_written(tmp_path):
    written = [{**record(i), "time": 0.5 * i, "name": "ü 中 \u2028 \"'"} for i in range(3)]
    with JsonlLog(tmp_path / "new" / "log.jsonl") as log:
        for entry in written:
            log.write(entry)
    assert read_jsonl(tmp_path / "new" / "log.jsonl") == written


def test_non_finite_numbers_are_valid_json_and_come_back(tmp_path):
    path = tmp_path / "log.jsonl"
    with JsonlLog(path) as log:
        log.write({"a": math.nan, "b": math.inf, "c": [-math.inf], "d": {"e": math.nan}})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(path.read_text(), parse_constant=refuse)
    found = read_jsonl(path)[0]
    assert math.isnan(found["a"]) and math.isnan(found["d"]["e"])
    assert (found["b"], found["c"]) == (math.inf, [-math.inf])


def test_a_killed_and_resumed_log_equals_one_without_a_break(tmp_path):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    with JsonlLog(whole, clock=lambda: 0.0) as log:
        for i in range(6):
            log.write(record(i))
    with JsonlLog(broken, clock=lambda: 0.0) as log:
        for i in range(3):
            log.write(record(i))
        position = log.position
        log.write(record(3))
        log.write(record(4))
    with broken.open("ab") as file:
        file.write(b'{"step": 5, "lo')  # The kill came in the middle of a line.
    with JsonlLog(broken, position, clock=lambda: 0.0) as log:
        assert log.position == position
        for i in range(3, 6):
            log.write(record(i))
    assert broken.read_bytes() == whole.read_bytes()


def test_a_run_killed_before_its_first_checkpoint_starts_its_log_anew(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n')
    for position in (None, 0):
        with JsonlLog(path, position) as log:
            assert log.position == 0
        assert path.read_bytes() == b""


def test_time_goes_on_where_the_earlier_part_ended(tmp_path):
    clock = Clock()
    with JsonlLog(tmp_path / "log.jsonl", elapsed=40.0, clock=clock) as log:
        clock.now = 102.5
        log.write({"step": 1})
        log.write({"step": 2, "time": 7.0})
    assert [entry["time"] for entry in read_jsonl(log.path)] == [42.5, 7.0]


def test_every_record_can_be_read_at_once_and_position_outlives_close(tmp_path):
    log = JsonlLog(tmp_path / "log.jsonl")
    log.write({"step": 1})
    assert read_jsonl(log.path)[0]["step"] == 1
    assert log.position == log.path.stat().st_size
    log.close()
    log.close()
    assert log.position == log.path.stat().st_size


def test_tensors_and_arrays_are_written_as_numbers(tmp_path):
    torch, numpy = pytest.importorskip("torch"), pytest.importorskip("numpy")
    with JsonlLog(tmp_path / "log.jsonl") as log:
        log.write({"a": torch.tensor(1.5), "b": numpy.float32(2.0), "c": torch.ones(2), "time": 0})
    assert read_jsonl(log.path) == [{"a": 1.5, "b": 2.0, "c": [1.0, 1.0], "time": 0}]


def test_what_json_cannot_hold_is_named(tmp_path):
    with JsonlLog(tmp_path / "log.jsonl") as log:
        with pytest.raises(OptionError, match=r"record\['a'\]\[1\] is a object"):
            log.write({"a": [1, object()]})
        log.write({"path": "\udcff"})
    assert len(read_jsonl(log.path)) == 1


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    line = '{"step": 10, "loss": 0.25, "name": "ü"}'
    for cut in range(len(line.encode())):
        path.write_bytes(b'{"step": 1}\n' + line.encode()[:cut])
        assert read_jsonl(path) == [{"step": 1}]
    path.write_text('{"step": 1}\n' + line, encoding="utf-8")
    assert len(read_jsonl(path)) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"a": 1', "not JSON"),
        (b"[1]", "no JSON object"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"a": NaN}', "NaN, which is not JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"a": ' + b"[" * 200_000, "nested 200001 deep"),
    ],
)
def test_a_damaged_line_is_named_with_its_file_and_number(tmp_path, line, says):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(FileError, match=says) as error:
        read_jsonl(path)
    assert f"{path}, line 3" in str(error.value)


def test_a_missing_log_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileError, match=r"none\.jsonl"):
        read_jsonl(tmp_path / "none.jsonl")


def test_a_log_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"file/log\.jsonl"):
        JsonlLog(tmp_path / "file" / "log.jsonl")


@pytest.mark.parametrize("content", [None, b"", b'{"step": 1}\n', b'{"step": 1, "a": 2000000}\n'])
def test_resuming_another_log_is_refused_and_leaves_it_untouched(tmp_path, content):
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match="not the one that the checkpoint was written with"):
        JsonlLog(path, 20)
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_negative_position_is_refused(tmp_path):
    with pytest.raises(OptionError, match="-1"):
        JsonlLog(tmp_path / "log.jsonl", -1)
