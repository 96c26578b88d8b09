from __future__ import annotations

import gzip

import numpy as np
import pytest

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.benchmarks.importers import import_benchmark, import_user_table
from nas_plugin.errors import ArchitectureError, BenchmarkError, FileError, OptionError

CSV = """op,width,epochs,seed,valid_accuracy,test_accuracy,seconds,params
conv,8,1,0,50,48,10,100
conv,8,1,1,52,49,12,100
conv,8,3,0,60,59,30,100
pool,16,1,0,40,41,5,30
pool,16,3,0,45,46,,30
"""


@pytest.fixture
def benchmark(tmp_path):
    (tmp_path / "mine.csv").write_text(CSV)
    return open_benchmark(import_benchmark(tmp_path / "mine.csv", tmp_path / "mine.nastab"))


def test_choices_metrics_and_epochs_come_from_the_columns(benchmark):
    assert benchmark.name == "mine" and len(benchmark) == 2
    assert [(c.key, c.kind, c.candidates) for c in benchmark.space.values()] == [
        ("op", "layer", ("conv", "pool")),
        ("width", "value", (8, 16)),
    ]
    conv = {"op": "conv", "width": 8}
    assert benchmark.query(conv, epochs=1) == 51
    assert benchmark.query(conv, epochs=1, seed=1) == 52
    assert benchmark.query(conv) == 60
    assert benchmark.query(conv, epochs=1, split="test") == 48.5
    assert benchmark.cost(conv, epochs=1) == 11


def test_what_the_table_does_not_hold_is_said(benchmark):
    pool = {"op": "pool", "width": 16}
    with pytest.raises(BenchmarkError, match="Allowed: 1, 3"):
        benchmark.query(pool, epochs=9)
    with pytest.raises(BenchmarkError, match=r"Seeds of that row: \[0\]"):
        benchmark.query(pool, epochs=1, seed=1)
    with pytest.raises(BenchmarkError, match="no row for"):
        benchmark.query({"op": "pool", "width": 8})
    with pytest.raises(ArchitectureError, match="width"):
        benchmark.query({"op": "pool"})
    assert not benchmark.is_legal({"op": "pool", "width": 8})


def test_lower_is_better_for_sizes_and_times(benchmark):
    best, value = benchmark.optimum(metric="params")
    assert (best["op"], value) == ("pool", 30)


def test_a_plain_accuracy_is_validation_and_never_test(tmp_path):
    np.savez(tmp_path / "t.npz", op=np.array(["a", "b"]), accuracy=np.array([1.0, 2.0]))
    benchmark = open_benchmark(import_benchmark(tmp_path / "t.npz", tmp_path / "t.nastab"))
    assert benchmark.optimum(split="valid")[0]["op"] == "b"
    with pytest.raises(BenchmarkError, match="Allowed: valid"):
        benchmark.optimum(split="test")


def test_metrics_with_other_names_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("op,score,regret\na,1,3\nb,2,4\n")
    path = import_user_table(
        tmp_path / "t.csv",
        tmp_path / "t.nastab",
        metrics=["score", "regret"],
        minimize=["regret"],
    )
    benchmark = open_benchmark(path)
    assert benchmark.optimum(metric="score", split="valid")[0]["op"] == "b"
    assert benchmark.optimum(metric="regret", split="valid")[0]["op"] == "a"
    with pytest.raises(OptionError, match="no column 'rewards'"):
        import_user_table(tmp_path / "t.csv", metrics=["rewards"])


def test_data_sets_may_be_a_column(tmp_path):
    (tmp_path / "t.csv").write_text("op,dataset,accuracy\na,CIFAR-10,1\na,svhn,2\nb,svhn,3\n")
    benchmark = open_benchmark(import_benchmark(tmp_path / "t.csv", tmp_path / "t.nastab"))
    assert benchmark.datasets == ("cifar_10", "svhn")
    assert benchmark.query({"op": "a"}, dataset="svhn") == 2
    with pytest.raises(BenchmarkError, match="none"):
        benchmark.query({"op": "b"}, dataset="CIFAR-10")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "first line"),
        ("op,accuracy\n", "first line"),
        ("op,op,accuracy\na,b,1\n", "different column names"),
        ("op,accuracy\na\n", "line 2: 1 fields"),
        ("op,width\na,1\n", "at least one choice and one metric"),
        ("accuracy\n1\n", "at least one choice and one metric"),
        ("op,accuracy\n,1\n", "is empty in some row"),
        ("op,accuracy\na,high\n", "row 1: the metric 'accuracy' is high"),
        ("op,accuracy\na,1.5\nb,-inf\n", "row 2: the metric 'accuracy' is -inf"),
        ("op,epochs,accuracy\na,1.5,3\n", "whole numbers"),
        ("op,accuracy\na,1\na,2\n", "a second accuracy"),
        ('op,accuracy\n"a,1\n', "not a readable CSV"),
    ],
)
def test_malformed_tables_are_refused(tmp_path, text, match):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(FileError, match=match):
        import_benchmark(tmp_path / "t.csv", tmp_path / "t.nastab")
    assert not (tmp_path / "t.nastab").exists()


def test_a_metric_without_any_value_has_no_optimum(tmp_path):
    (tmp_path / "t.csv").write_text("op,test_accuracy,valid_accuracy\na,,1\nb,,2\n")
    benchmark = open_benchmark(import_benchmark(tmp_path / "t.csv", tmp_path / "t.nastab"))
    with pytest.raises(BenchmarkError, match=r"no row with a value of 'accuracy' \(test\)"):
        benchmark.optimum()
    assert benchmark.optimum(split="valid")[1] == 2


def test_npz_files_with_objects_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", op=np.array([{}, []], dtype=object))
    with pytest.raises(FileError, match="has the type object"):
        import_benchmark(tmp_path / "t.npz", tmp_path / "t.nastab")
    (tmp_path / "u.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(FileError, match="no archive that can be read"):
        import_benchmark(tmp_path / "u.npz")


@pytest.mark.parametrize("name", ["own.csv", "own.csv.gz"])
def test_bytes_that_are_no_text_are_refused(tmp_path, name):
    whole = gzip.compress(CSV.encode() * 50)
    for content in (b"\xff\xfe\x00", whole[:40], whole[:20] + b"\xff" * 40, b"\x00" * 20):
        (tmp_path / name).write_bytes(content)
        for read in (import_benchmark, import_user_table):
            with pytest.raises(FileError, match=name):
                read(tmp_path / name, tmp_path / "own.nastab")


def test_the_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_name(tmp_path):
    (tmp_path / "own.csv").write_text(CSV, encoding="utf-8-sig")
    table = open_benchmark(import_benchmark(tmp_path / "own.csv", tmp_path / "own.nastab"))
    assert list(table.space) == ["op", "width"]
