"""Comparisons by hand: seeds, spreads, and regret that never looks ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.benchmarks.importers import import_user_table
from nas_plugin.evaluation import Budget, TableEvaluator, search
from nas_plugin.evaluation.compare import Entrant, Protocol, _path, compare, parse_entrant
from nas_plugin.evaluation.compare_report import curves, table_lines
from nas_plugin.space import Architecture, Choice, SearchSpace
from nas_plugin.strategies import Outcome, Proposal, RandomSearch
from nas_plugin.strategies.proposal import Trial


@pytest.fixture
def protocol(tmp_path: Path) -> Protocol:
    lines = ["op,width,valid_accuracy,test_accuracy,seconds"]
    lines += [f"{x},{w},{10 * x + w},{80 + x + 0.1 * w},10" for x in range(9) for w in range(9)]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    table = str(import_user_table(tmp_path / "own.csv", tmp_path / "own.nastab"))
    return Protocol.make(table, dataset=None, epochs=None, budget=Budget(trials=6))


def test_every_seed_is_another_run_and_the_same_one_again(protocol: Protocol) -> None:
    entrants = [Entrant("random", "random")]
    records = list(compare(protocol, entrants, range(12)))

    assert [record["seed"] for record in records] == list(range(12))
    assert len({str(record["path"]) for record in records}) >= 10
    again = list(compare(protocol, entrants, [7]))
    assert again == [records[7]]


def record(seed: int, signal: float, test: float, path: list[tuple[float, float]]) -> dict:
    return {
        "strategy": "random",
        "zero_cost": False,
        "seed": seed,
        "evaluations": 2,
        "simulated_seconds": 40.0,
        "signal": signal,
        "report": {"all": {"valid": signal, "test": test}},
        "path": path,
    }


def test_the_spread_is_the_deviation_over_the_seeds(protocol: Protocol) -> None:
    values = (70.0, 74.0, 82.0, 78.0)
    records = [record(i, value, value - 1, [(10.0, value)]) for i, value in enumerate(values)]
    row = next(line for line in table_lines(protocol, records) if "`random`" in line)

    # Mean 76; squared differences 36, 4, 36, 4, so the variance is 20.
    assert "76.00 ± 4.47" in row and "75.00 ± 4.47" in row


def test_the_regret_is_that_of_what_was_known_at_the_time(protocol: Protocol) -> None:
    records = [
        record(0, 80.0, 80.0, [(10.0, 70.0), (30.0, 86.0)]),
        record(1, 80.0, 80.0, [(10.0, 74.0), (20.0, 82.0)]),
    ]
    times, mean, low, high = curves(protocol, records)["random"]
    best = 88.8  # the table's best test accuracy

    assert times[0] == 10.0 and times[-1] == pytest.approx(40.0)
    for moment, regret in zip(times, mean, strict=True):
        first = 70.0 if moment < 30.0 else 86.0
        second = 74.0 if moment < 20.0 else 82.0
        if min(abs(moment - 20.0), abs(moment - 30.0)) > 1e-6:
            assert regret == pytest.approx(best - (first + second) / 2)
    assert low[0] == pytest.approx(best - 74.0) and high[0] == pytest.approx(best - 70.0)
    assert low[-1] == pytest.approx(best - 86.0) and high[-1] == pytest.approx(best - 82.0)


def test_the_signal_is_the_first_data_sets_shortest_schedule(tmp_path: Path) -> None:
    lines = ["op,dataset,epochs,valid_accuracy,test_accuracy"]
    lines += [f"{x},{d},{e},{x + e},{x}" for x in range(4) for d in ("one", "two") for e in (9, 3)]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    table = str(import_user_table(tmp_path / "own.csv", tmp_path / "own.nastab"))
    made = Protocol.make(table, dataset=None, epochs=None, budget=Budget(trials=2))

    assert (made.dataset, made.epochs) == ("one", 3)


def test_the_incumbent_is_that_of_the_highest_fidelity(protocol: Protocol) -> None:
    history = []
    for i, (op, fidelity, value) in enumerate(((8, 1.0, 90.0), (2, 3.0, 40.0), (5, 1.0, 99.0))):
        proposal = Proposal(i, Architecture({"op": op, "width": 0}), fidelity)
        history.append(Trial(proposal, Outcome({"default": value}, seconds=10.0), value))
    found = list(_path(protocol, history, open_benchmark(protocol.benchmark)))

    # The test accuracies of operations 8 and 2; the third is better, but at a lower fidelity.
    assert found == [(10.0, 88.0), (20.0, 82.0)]


def test_what_the_table_lacks_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("op,valid_accuracy\na,50\nb,\nc,60\n")
    table = open_benchmark(str(import_user_table(tmp_path / "own.csv", tmp_path / "own.nastab")))
    outcomes = [
        TableEvaluator(table).evaluate(Proposal(i, Architecture({"op": op})))
        for i, op in enumerate("abc")
    ]

    assert [outcome.metrics.get("default") for outcome in outcomes] == [50.0, None, 60.0]
    assert outcomes[1].failure is not None and "no such run" in outcomes[1].failure


def test_a_resumed_search_has_what_is_left_of_the_budget(tmp_path: Path) -> None:
    space = SearchSpace([Choice("x", "value", tuple(range(50)))])

    class Costly:
        def evaluate(self, proposal: Proposal) -> Outcome:
            return Outcome({"default": float(proposal.id)}, seconds=10.0)

    def run(seconds: float) -> int:
        strategy = RandomSearch(space, seed=0)
        budget = Budget(simulated_seconds=seconds)
        result = search(space, strategy, Costly(), budget, log=tmp_path / "log.jsonl")
        return len(result.history)

    assert run(30.0) == 3
    assert run(70.0) == 7


@pytest.mark.parametrize(
    ("text", "knows"),
    [("random", False), ("random:warm_start=zc_a", True), ("bananas:score=zc_a", True)],
)
def test_what_knows_zero_cost_scores_says_so(text: str, knows: bool) -> None:
    assert parse_entrant(text).uses_zero_cost is knows
