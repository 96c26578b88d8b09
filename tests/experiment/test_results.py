from __future__ import annotations

import csv
import io
import json
import sqlite3
from dataclasses import replace

import pytest

from nas_plugin.errors import FileError, OptionError
from nas_plugin.experiment import results
from nas_plugin.experiment.database import disagreements
from nas_plugin.experiment.show import report


def end(trial, parameter, attempt, outcome, **fields):
    return {
        "event": "end",
        "trial": trial,
        "parameter": parameter,
        "attempt": attempt,
        "outcome": outcome,
        **fields,
    }


@pytest.fixture
def table():
    events = [
        {"event": "session"},
        {"event": "ask", "parameter": 0, "architecture": {"a": "x", "b": ["p", "q"]}},
        {"event": "ask", "parameter": 1, "architecture": {"a": "y"}},
        {"event": "claim", "trial": "T0", "parameter": 0, "attempt": 0},
        end("T0", 0, 0, "killed", metrics={"default": 9.0}, signal="SIGKILL", message="by SIGKILL"),
        {"event": "stray", "trial": "T1", "outcome": "failed", "message": "exit code 1"},
        {"event": "again", "parameter": 0, "attempt": 1},
        {"event": "claim", "trial": "T2", "parameter": 0, "attempt": 1},
        end("T2", 0, 1, "succeeded", metrics={"default": 0.7, "params": 30}, exit_code=0),
        end("T3", 1, 0, "succeeded", metrics={"default": 0.6, "params": 10}, exit_code=0),
        {"event": "repeat", "trial": "T4", "parameter": 0, "attempt": 0},
        end("T5", None, 0, "succeeded", metrics={"default": 8.0}, architecture={"a": "x"}),
    ]
    return results.rows({"n": n, "time": float(n), **e} for n, e in enumerate(events))


def test_rows_keep_attempts_times_and_outcomes(table):
    assert [(r.trial, r.parameter, r.attempt, r.outcome) for r in table] == [
        ("T0", 0, 0, "killed"),
        ("T1", None, None, "failed"),
        ("T2", 0, 1, "succeeded"),
        ("T3", 1, 0, "succeeded"),
        ("T4", 0, 0, "repeated"),
        ("T5", None, None, "succeeded"),
    ]
    assert (table[0].proposed, table[0].claimed, table[0].ended) == (1.0, 3.0, 4.0)
    assert table[2].proposed == 6.0 and table[2].seconds == 1.0
    assert table[1].seconds is None


def test_of_equal_trials_the_first_proposed_is_best(table):
    row = next(r for r in table if r.outcome == "succeeded" and r.parameter is not None)
    later, earlier = (replace(row, parameter=p, metrics={"default": 1.0}) for p in (7, 3))
    assert results.best([later, earlier], "default") == [earlier, later]


def test_failed_and_hand_made_trials_are_never_best(table):
    assert [r.trial for r in results.best(table, "default")] == ["T2", "T3"]
    assert [r.trial for r in results.best(table, "params", minimize=True)] == ["T3", "T2"]
    with pytest.raises(OptionError, match="Reported: default, params"):
        results.best(table, "accuracy")


def test_the_pareto_set_is_what_nothing_beats(table):
    assert [r.trial for r in results.pareto(table, ["default"], ["params"])] == ["T2", "T3"]
    assert [r.trial for r in results.pareto(table, ["default"], [])] == ["T2"]


def test_the_report_names_every_failure(table):
    text = report(table, pareto_with=["params"])
    assert "best 2 of 2 by default" in text and "Pareto set: 2 of 2" in text
    assert "[0, trial T0]  killed: by SIGKILL" in text and "[trial T1]  failed" in text
    assert "[0, attempt 2, trial T2]" in text and "T4" not in text


def test_exports_hold_every_row(table):
    loaded = json.loads(results.to_json(table))
    assert len(loaded) == 6 and loaded[0]["architecture"] == {"a": "x", "b": ["p", "q"]}
    rows = list(csv.DictReader(io.StringIO(results.to_csv(table))))
    assert [row["trial"] for row in rows] == ["T0", "T1", "T2", "T3", "T4", "T5"]
    assert rows[0]["b"] == "p+q" and rows[3]["b"] == "" and rows[2]["params"] == "30"
    assert rows[1]["seconds"] == ""


def test_the_check_lists_what_nni_has_wrong(table, tmp_path):
    with pytest.raises(FileError, match=r"nni\.sqlite"):
        disagreements(tmp_path, table)
    (tmp_path / "db").mkdir()
    connection = sqlite3.connect(tmp_path / "db" / "nni.sqlite")
    connection.execute(
        "create table TrialJobEvent (trialJobId text, event text, data text, sequenceId integer)"
    )

    def job(number, trial, parameters, status):
        data = json.dumps({"parameter_id": number, "parameters": parameters})
        rows = [(trial, "RUNNING", data, number), (trial, status, None, number)]
        connection.executemany("insert into TrialJobEvent values (?, ?, ?, ?)", rows)

    job(0, "T0", {"a": "x", "b": "p+q"}, "USER_CANCELED")
    job(1, "T2", {"a": "y"}, "SUCCEEDED")
    job(2, "T3", {"a": "y"}, "SUCCEEDED")
    connection.commit()
    connection.close()

    found = disagreements(tmp_path, table)

    assert [(d.number, d.trial, d.what) for d in found] == [
        (0, "T0", "outcome"),
        (1, "T2", "architecture"),
    ]
    assert found[1].nni == {"a": "y"} and found[1].journal == {"a": "x", "b": "p+q"}
