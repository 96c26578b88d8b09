"""What the supervisor makes of a manager's end; real managers are in the games."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from nas_plugin.commands import experiment as command
from nas_plugin.errors import ExperimentError
from nas_plugin.experiment import supervise
from nas_plugin.experiment.guard import UNSURE_ROWS
from nas_plugin.experiment.journal import Journal, journal_path
from nas_plugin.experiment.launch import Portal, Running
from nas_plugin.experiment.manager_api import ManagerApi
from nas_plugin.experiment.show import summary
from nas_plugin.experiment.supervise import Patience, Supervisor


def supervisor(folder, code, restarts=0, say=lambda line: None):
    process = subprocess.Popen([sys.executable, "-c", f"import sys; sys.exit({code})"])
    process.wait()
    running = Running("none", folder, 9, process)
    return Supervisor(running, patience=Patience(restarts), portal=Portal(), say=say)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(supervise, "_POLL", 0.0)


@pytest.mark.parametrize("restarts", [0, 3])
def test_an_experiment_that_somebody_stops_is_not_started_again(tmp_path, monkeypatch, restarts):
    monkeypatch.setattr(supervise, "resume", lambda *_: pytest.fail("resumed"))
    assert supervisor(tmp_path, 0, restarts).watch() is False


def test_a_manager_that_crashes_is_reported_with_the_way_on(tmp_path):
    with pytest.raises(ExperimentError, match=r"manager has died.*resume none"):
        supervisor(tmp_path, 1).watch()


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_a_summary_says_whether_there_is_a_result(tmp_path, outcome):
    journal = Journal(journal_path(tmp_path))
    fields = {"trial": "T", "parameter": 0, "attempt": 0, "architecture": {"a": "x"}}
    journal.append("end", **fields, outcome=outcome, metrics={"default": 1.0}, message="why")
    journal.close()
    text, has_result = summary(Running("none", tmp_path, 9, None))
    assert text.startswith(f"done: 1 {outcome}") and has_result == (outcome == "succeeded")


def test_a_failing_trial_is_told_at_once_with_the_last_lines_it_wrote(tmp_path):
    trial = tmp_path / "environments" / "local-env" / "trials" / "T"
    trial.mkdir(parents=True)
    lines = [f"line {i}" for i in range(100)] + ["ImportError: no module named 'x'"]
    (trial / "trial.stderr").write_text("\n".join(lines) + "\n")
    journal = Journal(journal_path(tmp_path))
    fields = {"parameter": 0, "attempt": 0, "architecture": {}}
    journal.append("end", trial="G", **fields, outcome="succeeded", metrics={}, message="")
    journal.append("end", trial="T", **fields, outcome="failed", metrics={}, message="exit code 1")
    said = []
    watched = supervisor(tmp_path, 0, say=said.append)
    watched._tell_news()
    watched._tell_news()  # nothing is said twice
    journal.close()
    assert said[0] == "trial T failed: exit code 1"
    assert said[-1].strip() == "ImportError: no module named 'x'" and "line 99" in said[-2]
    assert said[1:] == [f"    {line}" for line in lines[-len(said[1:]) :]]


def test_it_says_once_that_rows_of_the_portal_are_not_to_be_trusted(tmp_path):
    said = []
    journal = Journal(journal_path(tmp_path))
    watched = supervisor(tmp_path, 0, say=said.append)
    journal.append("session", rows_exact=True)
    watched._tell_news()
    assert said == []
    for _ in range(2):  # the second is a resumed one
        journal.append("session", rows_exact=False)
        watched._tell_news()
    journal.close()
    assert said == [UNSURE_ROWS]


@pytest.mark.parametrize(
    ("trials", "code"),
    [
        ([], 1),
        ([{"status": "FAILED"}] * 8, 1),
        ([{"status": "SUCCEEDED"}], 1),
        ([{"status": "FAILED", "finalMetricData": [{"data": "0.5"}]}], 1),
        ([{"status": "FAILED"}, {"status": "SUCCEEDED", "finalMetricData": [{"data": "0.5"}]}], 0),
    ],
)
def test_without_a_journal_and_without_a_result_the_exit_code_is_one(
    tmp_path, monkeypatch, capsys, trials, code
):
    monkeypatch.setattr(ManagerApi, "trials", lambda self: trials)
    running = Running("none", tmp_path, 9, None)
    assert command._end(argparse.Namespace(keep=True), running, done=True) == code
    printed = capsys.readouterr()
    assert f"{1 - code} of {len(trials)} trials have a result" in printed.out
    assert ("no trial has succeeded" in printed.err) == bool(code)
