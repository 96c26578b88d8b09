from __future__ import annotations

import argparse
import json

import pytest

from nas_plugin.commands import bench
from nas_plugin.errors import BenchmarkError, FileError, OptionError


@pytest.fixture
def run(capsys):
    def call(*words):
        parser = argparse.ArgumentParser()
        bench.add_arguments(parser)
        code = bench.run(parser.parse_args([str(word) for word in words]))
        return code, capsys.readouterr().out

    return call


@pytest.fixture
def table(tmp_path, run):
    (tmp_path / "mine.csv").write_text(
        "op,width,valid_accuracy,test_accuracy,regret\nconv,8,60,50,1\npool,16,40,70,2\n"
    )
    out = tmp_path / "mine.nastab"
    code, printed = run(
        "import", tmp_path / "mine.csv", "--out", out, "--metrics", "regret", "--minimize", "regret"
    )
    assert code == 0 and "2 rows" in printed and "choices: op, width" in printed
    return out


def test_info_states_source_hash_and_columns(run, table):
    code, printed = run("info", table, "--verify")
    assert code == 0
    assert "(verified)" in printed and "mine.csv" in printed
    assert "accuracy: split test, valid" in printed
    header = json.loads(run("info", table, "--json")[1])
    assert header["name"] == "mine" and header["rows"] == 2


def test_info_without_a_name_lists_the_names(run):
    assert "nasbench201-v1.1" in run("info")[1].split()


def test_query_understands_rows_json_and_files(run, table, tmp_path):
    architecture = {"op": "pool", "width": 16}
    (tmp_path / "a.json").write_text(json.dumps(architecture))
    for spelled in ("1", json.dumps(architecture), tmp_path / "a.json"):
        assert run("query", table, spelled)[1] == "40\n"
    assert run("query", table, "1", "--split", "test")[1] == "70\n"


def test_top_is_by_validation_unless_test_is_asked_for(run, table):
    first = run("top", table, "-n", "1")[1].splitlines()
    assert first[0] == "# mine: accuracy, split valid"
    assert first[1].split("\t")[:2] == ["60", "0"]
    assert run("top", table, "--split", "test")[1].splitlines()[1].startswith("70\t1\t")
    assert run("top", table, "--metric", "regret")[1].splitlines()[1].startswith("1\t0\t")


def test_wrong_requests_are_errors_that_help(run, table, tmp_path):
    with pytest.raises(BenchmarkError, match="Allowed: accuracy, regret"):
        run("query", table, "0", "--metric", "loss")
    with pytest.raises(FileError, match="not JSON"):
        run("query", table, "{")
    with pytest.raises(FileError, match="There is no file"):
        run("query", table, tmp_path / "gone.json")
    with pytest.raises(OptionError, match="at least 1"):
        run("top", table, "-n", "0")
    with pytest.raises(OptionError, match="one's own"):
        run("import", tmp_path / "x.tfrecord", "--metrics", "a")


def test_a_damaged_table_is_refused_by_verify(run, table):
    content = bytearray(table.read_bytes())
    content[-64] ^= 1
    table.write_bytes(content)
    with pytest.raises(FileError, match="damaged"):
        run("info", table, "--verify")
