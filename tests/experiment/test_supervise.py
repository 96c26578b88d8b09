"""What the supervisor makes of a manager's end; real managers are in the games."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nas_plugin.errors import ExperimentError
from nas_plugin.experiment import supervise
from nas_plugin.experiment.journal import Journal, journal_path
from nas_plugin.experiment.launch import Portal, Running
from nas_plugin.experiment.show import summary
from nas_plugin.experiment.supervise import Patience, Supervisor


def supervisor(folder, code, restarts=0):
    process = subprocess.Popen([sys.executable, "-c", f"import sys; sys.exit({code})"])
    process.wait()
    running = Running("none", folder, 9, process)
    return Supervisor(running, patience=Patience(restarts), portal=Portal(), say=lambda line: None)


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
