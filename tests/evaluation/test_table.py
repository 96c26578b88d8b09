from __future__ import annotations

import pytest

from nas_plugin.benchmarks.importers import import_user_table
from nas_plugin.benchmarks.read import read_benchmark
from nas_plugin.errors import BenchmarkError, OptionError
from nas_plugin.evaluation import Budget, TableEvaluator, search, table_score
from nas_plugin.strategies import Hyperband, Nsga2, Proposal, best_by_score


def proposal(table, op, width, fidelity=None):
    return Proposal(0, table.space.architecture({"op": op, "width": width}), fidelity)


def test_the_answer_is_validation_and_its_cost(table):
    outcome = TableEvaluator(table, epochs=1).evaluate(proposal(table, "conv", 16))
    assert dict(outcome.metrics) == {"default": pytest.approx(52.0)}
    assert outcome.seconds == pytest.approx(10.0)


def test_the_fidelity_is_a_number_of_epochs(table):
    evaluator = TableEvaluator(table, epochs=1)
    assert evaluator.evaluate(proposal(table, "pool", 8, 3)).metrics["default"] == 47.0
    with pytest.raises(BenchmarkError, match="no epochs '2'"):
        evaluator.evaluate(proposal(table, "pool", 8, 2))
    with pytest.raises(BenchmarkError, match="whole number"):
        evaluator.evaluate(proposal(table, "pool", 8, 1.5))


def test_further_metrics_come_by_their_names(table):
    evaluator = TableEvaluator(table, extra=("params",))
    assert evaluator.evaluate(proposal(table, "skip", 64)).metrics["params"] == 6400
    with pytest.raises(OptionError, match="'default'"):
        TableEvaluator(table, extra=("default",))


def test_only_zero_cost_scores_can_be_scores(table):
    score = table_score(table, "zc_guess")
    assert score(proposal(table, "conv", 8).architecture) == -9
    with pytest.raises(OptionError, match="zc_"):
        table_score(table, "accuracy")


def test_hyperband_runs_on_a_table_with_epochs(table):
    strategy = Hyperband(table.space, fidelities=(1, 3), eta=2)
    result = search(table.space, strategy, TableEvaluator(table), Budget(trials=100))
    assert result.stopped == "exhausted"
    assert result.best.proposal.fidelity == 3
    assert result.best.architecture.to_json() == {"op": "conv", "width": 64}


def test_nsga2_returns_a_front_of_the_table(table):
    evaluator = TableEvaluator(table, epochs=3, extra=("params",))
    result = search(table.space, Nsga2(table.space, population=6), evaluator, Budget(trials=16))
    found = [trial.architecture.to_json() for trial in result.front]
    assert found == [{"op": "conv", "width": width} for width in (64, 32, 16, 8)]


def test_what_has_no_score_is_chosen_last(tmp_path):
    lines = ["width,accuracy,zc_guess", "1,50,", "2,50,1", "3,50,", "4,50,2", "5,50,"]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    own = read_benchmark(import_user_table(tmp_path / "own.csv", tmp_path / "own.nastab"))
    best = best_by_score(own.space, table_score(own, "zc_guess"), 2, pool=5)
    assert [architecture["width"] for architecture in best] == [4, 2]
