from __future__ import annotations

import argparse
import json
import random

import pytest

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.benchmarks.importers import import_user_table
from nas_plugin.commands import bench
from nas_plugin.errors import NasError, OptionError
from nas_plugin.evaluation.compare import parse_entrant


@pytest.fixture
def table(tmp_path):
    lines = ["op,width,valid_accuracy,test_accuracy,seconds,own_seconds,zc_guess"]
    for i, op in enumerate("abcd"):
        for width in (1, 2, 3, 4):
            lines.append(f"{op},{width},{40 + 5 * i + width},{30 + 5 * i + width},10,7,{-i}")
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    return import_user_table(tmp_path / "own.csv", tmp_path / "own.nastab")


@pytest.fixture
def compare(table, tmp_path, capsys):
    def call(*words):
        parser = argparse.ArgumentParser()
        bench.add_arguments(parser)
        out = ["--benchmark", table, "--out", tmp_path / "out"]
        args = parser.parse_args([str(word) for word in ("compare", *words, *out)])
        return bench.run(args), capsys.readouterr().out

    return call


def test_a_comparison_prints_its_protocol_and_keeps_zero_cost_rows_apart(compare, tmp_path):
    code, printed = compare(
        "--strategies", "zero_cost:score=zc_guess", "grid", "random", "--seeds", "3",
        "--budget-seconds", "45", "--workers", "1",
    )  # fmt: skip
    assert code == 0
    assert "Release: own" in printed and "45 simulated seconds" in printed
    assert "Seeds 0 to 2" in printed
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    names = [row.split("|")[1].strip() for row in rows[2:]]
    assert names == [
        "`grid`", "`random`", "*with zero-cost scores*", "`zero_cost:score=zc_guess`",
        "*best of the table*",
    ]  # fmt: skip
    # The grid begins with a1, a2, a3, a4: four evaluations of ten seconds, the best of them a4.
    grid = [cell.strip() for cell in rows[2].split("|")]
    assert grid[2:6] == ["4.0", "44.00 ± 0.00", "44.00 ± 0.00", "34.00 ± 0.00"]
    records = [json.loads(line) for line in (tmp_path / "out/runs.jsonl").read_text().splitlines()]
    assert {(r["strategy"], r["seed"]) for r in records if r["strategy"] == "grid"} == {
        ("grid", seed) for seed in range(3)
    }
    assert records[0]["path"][0][0] == 10
    assert (tmp_path / "out/table.md").read_text() == printed
    assert (tmp_path / "out/regret.png").stat().st_size > 1000


def test_another_cost_may_be_charged(compare, tmp_path):
    _, printed = compare(
        "--strategies", "grid", "--seeds", "1", "--budget-seconds", "22", "--workers", "1",
        "--cost", "own_seconds",
    )  # fmt: skip
    assert "22 simulated seconds (`own_seconds`" in printed
    assert json.loads((tmp_path / "out/runs.jsonl").read_text())["evaluations"] == 3
    with pytest.raises(NasError, match="no metric 'hours'"):
        compare("--strategies", "grid", "--budget-seconds", "45", "--cost", "hours")


@pytest.mark.processes
def test_several_processes_give_the_same_as_one(compare, tmp_path):
    words = ("--strategies", "random", "--seeds", "11", "--budget-trials", "4", "--workers")
    _, alone = compare(*words, "1")
    _, together = compare(*words, "2")
    assert alone == together


def test_entrants_are_read_from_text():
    entrant = parse_entrant("hyperband:fidelities=[1,3],eta=2,warm_start=zc_naswot")
    assert dict(entrant.options) == {"fidelities": [1, 3], "eta": 2}
    assert entrant.warm_start == "zc_naswot" and entrant.uses_zero_cost
    with pytest.raises(OptionError, match="expected option=value, found 'fast'"):
        parse_entrant("random:fast")
    with pytest.raises(NasError, match="Did you mean 'random'"):
        parse_entrant("randon")


def test_options_that_a_strategy_does_not_take_are_named(compare):
    with pytest.raises(OptionError, match="has no argument 'speed'"):
        compare("--strategies", "random:speed=3", "--budget-trials", "2", "--workers", "1")
    with pytest.raises(OptionError, match="needs a budget"):
        compare("--strategies", "random")


def own_table(folder, rows, head="op,width,accuracy"):
    (folder / "own.csv").write_text("\n".join([head, *rows]) + "\n")
    import_user_table(folder / "own.csv", folder / "own.nastab")


def test_a_table_without_test_results_or_times_is_compared_by_validation(
    compare, table, tmp_path, capsys
):
    own_table(
        tmp_path, [f"{op},{w},{40 + 5 * i + w}" for i, op in enumerate("abc") for w in (1, 2)]
    )
    code, printed = compare(
        "--strategies", "grid", "random", "--seeds", "2", "--budget-trials", "5", "--workers", "1"
    )
    assert code == 0 and "test" not in printed
    assert "| `grid` | 5.0 | 51.00 ± 0.00 | 51.00 ± 0.00 |" in printed
    assert "| *best of the table* |  |  | 52.00 |" in printed


def test_only_rows_of_a_table_that_is_not_complete_are_proposed(compare, tmp_path):
    own_table(tmp_path, ["a,1,50", "b,2,60", "c,3,70", "d,4,80", "a,2,55"])
    names = ("random", "grid", "regularized_evolution", "tpe", "local_search", "bananas:steps=5")
    code, _ = compare(
        "--strategies", *names, "--seeds", "1", "--budget-trials", "9", "--workers", "1"
    )  # fmt: skip
    text = (tmp_path / "out" / "runs.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert code == 0
    assert [(r["evaluations"], r["signal"]) for r in records] == [(5, 80.0)] * len(names)


def test_missing_results_and_free_evaluations_break_no_comparison(compare, tmp_path):
    head = "op,width,valid_accuracy,test_accuracy,seconds"
    own_table(tmp_path, ["a,1,50,45,0", "b,1,70,,0", "a,2,,30,0", "b,2,60,55,0"], head)
    code, printed = compare(
        "--strategies", "random", "--seeds", "2", "--budget-trials", "4", "--workers", "1"
    )
    assert code == 0
    assert "| `random` | 4.0 | 70.00 ± 0.00 | 70.00 ± 0.00 | none |" in printed


def test_the_curve_follows_the_highest_fidelity(compare, tmp_path):
    rows = [f"{x},{epochs},{90 - 20 * epochs + x},{x}" for x in range(9) for epochs in (1, 3)]
    own_table(tmp_path, rows, "width,epochs,valid_accuracy,test_accuracy")
    code, _ = compare(
        "--strategies", "successive_halving:fidelities=[1,3]", "--seeds", "1",
        "--budget-trials", "12", "--workers", "1",
    )  # fmt: skip
    record = json.loads((tmp_path / "out" / "runs.jsonl").read_text())
    assert code == 0
    # After one epoch all values are higher, but what is reported was trained for three.
    assert record["path"][-1][1] == record["architecture"]["width"]


def test_a_table_is_sampled_by_rows_unless_the_entrant_says_otherwise(table, monkeypatch):
    benchmark = open_benchmark(table)
    row = benchmark.architecture(7)
    monkeypatch.setattr(type(benchmark), "sample", lambda self, rng: row)

    for text, is_row in [("random", True), ("random:sampling=per_choice", False)]:
        strategy = parse_entrant(text).make(benchmark, None, seed=0)
        assert (strategy.ask().architecture == row) is is_row


def test_every_row_is_drawn_equally_often(table):
    benchmark = open_benchmark(table)

    class Fixed(random.Random):
        def randrange(self, n):
            assert n == len(benchmark)
            return self.row

    rng, found = Fixed(), []
    for rng.row in range(len(benchmark)):
        found.append(benchmark.sample(rng))
    assert found == [benchmark.architecture(row) for row in range(len(benchmark))]
