from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_plugin.errors import ExperimentError
from nas_plugin.experiment import channel, trial_files
from nas_plugin.experiment.metrics import MetricError
from nas_plugin.experiment.trial import CurrentTrial
from tests.experiment.fake_manager import FakeManager

RECORD = {
    "parameter_id": 4,
    "parameter_source": "algorithm",
    "parameters": {"a": "x"},
    "parameter_index": 1,
}


@pytest.fixture
def manager():
    manager = FakeManager(RECORD)
    yield manager
    manager.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(channel, "_PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.delitem(sys.modules, "nni", raising=False)


def test_a_trial_claims_reports_and_leaves_its_files(manager, tmp_path):
    trial = CurrentTrial(manager.environment(tmp_path))
    assert trial.parameters() == {"a": "x"}
    trial.runs({"a": "x"})
    trial.report_intermediate(0.25)
    trial.report_intermediate({"default": 0.5, "loss": 1.5})
    trial.report_final({"default": 0.75, "params": 10})

    kinds = [(m["type"], m["sequence"], json.loads(m["value"])) for m in manager.metrics]
    assert kinds == [
        ("PERIODICAL", 0, 0.25),
        ("PERIODICAL", 1, {"default": 0.5, "loss": 1.5}),
        ("FINAL", 0, {"default": 0.75, "params": 10}),
    ]
    assert {(m["parameter_id"], m["trial_job_id"]) for m in manager.metrics} == {(4, "T0")}
    assert manager.metrics[-1]["nas_plugin"] == {"attempt": 1, "architecture": {"a": "x"}}
    folder = trial.folder
    claim = trial_files.read_record(folder, trial_files.CLAIM)
    assert (claim["parameter"], claim["attempt"], claim["pid"]) == (4, 1, os.getpid())
    result = trial_files.read_record(folder, trial_files.RESULT)
    assert result["metrics"] == {"default": 0.75, "params": 10}
    assert json.loads((folder / "architecture.json").read_text()) == {"a": "x"}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["intermediate", "intermediate", "final"]


def test_events_lie_where_the_portals_button_looks(manager, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    for value in (0.25, 0.5):
        trial.report_intermediate({"default": value, "loss": 1 - value})
    trial.report_final(0.75)

    folder = tmp_path / "trials" / "T0" / "output" / "tensorboard"
    assert folder.resolve() == trial.tensorboard_folder()
    found = EventAccumulator(str(folder))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("default")] == [(0, 0.25), (1, 0.5)]
    assert [e.value for e in found.Scalars("loss")] == [0.75, 0.5]
    assert [(e.step, e.value) for e in found.Scalars("final/default")] == [(2, 0.75)]


def test_a_result_that_the_manager_forgets_is_sent_again(tmp_path):
    manager = FakeManager(RECORD, drops=2)
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    trial.report_final(0.5)
    manager.close()
    assert [m["type"] for m in manager.metrics] == ["FINAL"]


def test_a_result_without_a_manager_is_kept_and_said(manager, tmp_path, capsys):
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    manager.close()
    trial.report_final(0.5)
    assert str(trial.folder) in capsys.readouterr().err
    assert trial_files.read_record(trial.folder, trial_files.RESULT)["metrics"] == {"default": 0.5}


def test_a_manager_that_never_stores_the_result_does_not_end_the_trial(tmp_path, capsys):
    manager = FakeManager(RECORD, drops=100)
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    trial.report_final(0.5)
    manager.close()
    assert "did not store" in capsys.readouterr().err


def test_a_trial_that_runs_again_reports_the_result_it_had(manager, tmp_path):
    environment = manager.environment(tmp_path)
    first = CurrentTrial(environment)
    first.parameters()
    first.runs({"a": "x"})
    first.report_final(0.5)
    manager.metrics.clear()

    with pytest.raises(SystemExit) as ended:
        CurrentTrial(environment).parameters()

    assert ended.value.code == 0
    assert [json.loads(m["value"]) for m in manager.metrics] == [0.5]
    assert manager.metrics[0]["nas_plugin"]["architecture"] == {"a": "x"}


def test_a_result_of_other_parameters_is_not_reported_again(manager, tmp_path):
    environment = manager.environment(tmp_path)
    old = {"trial": "T0", "parameter": 3, "attempt": 1, "metrics": {"default": 1.0}}
    trial_files.write_record(Path(environment["NNI_OUTPUT_DIR"]), trial_files.RESULT, old)
    assert CurrentTrial(environment).parameters() == {"a": "x"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "good", [0.5]])
def test_what_is_no_number_is_an_error_in_the_trial_and_noted(manager, tmp_path, value):
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    with pytest.raises(MetricError):
        trial.report_final(value)
    assert "refused" in trial_files.read_record(trial.folder, trial_files.RESULT)
    assert manager.metrics == []


def test_a_report_before_the_question_is_an_error(manager, tmp_path):
    with pytest.raises(ExperimentError, match="get_and_apply_next_architecture"):
        CurrentTrial(manager.environment(tmp_path)).report_final(0.5)


def test_by_hand_there_are_no_parameters_and_reports_are_printed(capsys):
    trial = CurrentTrial({})
    assert not trial.managed and trial.tensorboard_folder() is None
    with pytest.raises(ExperimentError, match="no trial"):
        trial.parameters()
    trial.runs({"a": "x"})
    trial.report_intermediate(0.5)
    trial.report_final({"default": 0.5, "params": 3})
    assert capsys.readouterr().out == (
        "intermediate result: default=0.5\nfinal result: default=0.5 params=3\n"
    )


def test_a_manager_that_answers_with_errors_is_named(tmp_path):
    manager = FakeManager(RECORD, refuses=1)
    with pytest.raises(ExperimentError, match="HTTP 500"):
        CurrentTrial(manager.environment(tmp_path)).parameters()
    manager.close()
    with pytest.raises(ExperimentError, match="Nobody answers"):
        CurrentTrial(manager.environment(tmp_path)).parameters()
    broken = {**manager.environment(tmp_path), "NNI_TRIAL_COMMAND_CHANNEL": "ftp://x"}
    with pytest.raises(ExperimentError, match="ftp://x"):
        CurrentTrial(broken).parameters()


SCRIPT = """
from nas_plugin.experiment import next_architecture, report_final
from nas_plugin.space import Choice, SearchSpace
space = SearchSpace([Choice("a", "layer", ("x", "y"))])
architecture = next_architecture(space)
print(architecture.to_json())
report_final({"x": 0.5, "y": 0.25}[architecture["a"]])
BODY
import sys
assert not {"nni", "torch"} & set(sys.modules)
"""


def run_script(environment, *arguments, body=""):
    known = {k: v for k, v in os.environ.items() if not k.startswith("NNI_")}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("BODY", body), *arguments],
        env={**known, **environment, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_takes_the_proposal_without_importing_nni_or_torch(manager, tmp_path):
    ended = run_script(manager.environment(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "{'a': 'x'}\n"
    assert [m["type"] for m in manager.metrics] == ["FINAL"]


def test_a_script_by_hand_takes_the_first_or_the_given_architecture(tmp_path):
    assert run_script({}).stdout.startswith("{'a': 'x'}")
    (tmp_path / "best.json").write_text('{"a": "y"}')
    given = run_script({}, "--arc-checkpoint", str(tmp_path / "best.json"))
    assert (given.returncode, given.stdout[:10]) == (0, "{'a': 'y'}")


def test_a_script_that_is_asked_for_its_space_writes_it_and_ends(tmp_path):
    target = tmp_path / "space.json"
    ended = run_script({"NNI_GEN_SEARCH_SPACE": str(target)}, body="assert False")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert json.loads(target.read_text())["a"]["_value"] == ["x", "y"]


def test_the_exception_that_ends_a_trial_is_kept(manager, tmp_path):
    ended = run_script(manager.environment(tmp_path), body="raise ValueError('too large')")
    assert ended.returncode == 1 and "too large" in ended.stderr
    folder = tmp_path / "environments" / "local-env" / "trials" / "T0"
    assert trial_files.read_record(folder, trial_files.ERROR) == {
        "type": "ValueError",
        "message": "too large",
    }


def test_nnis_own_report_functions_may_be_mixed_in(manager, tmp_path):
    pytest.importorskip("nni")
    body = "import nni.trial; nni.report_final_result(0.125)"
    script = "import nni\n" + SCRIPT.split("report_final(")[0].replace(", report_final", "")
    known = {k: v for k, v in os.environ.items() if not k.startswith("NNI_")}
    environment = {**known, **manager.environment(tmp_path), "PYTHONPATH": os.getcwd()}
    ended = subprocess.run(
        [sys.executable, "-c", script + body], env=environment, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert [(m["parameter_id"], json.loads(m["value"])) for m in manager.metrics] == [(4, 0.125)]


def test_an_intermediate_result_never_ends_a_trial_whose_manager_is_gone(manager, tmp_path, capsys):
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    trial.report_intermediate(0.25)
    manager.close()
    for value in (0.5, 0.75):
        trial.report_intermediate(value)
    said = capsys.readouterr().err
    assert said.count("cannot be sent") == 1 and "The trial continues" in said
    lines = [json.loads(line) for line in (trial.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["default"] for line in lines] == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("odd")])
def test_a_full_disk_ends_the_curve_and_not_the_trial(
    manager, tmp_path, monkeypatch, capsys, error
):
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()

    def full(*_, **__):
        raise error

    monkeypatch.setattr(trial, "_note", full)
    for value in (0.25, 0.5):
        trial.report_intermediate(value)
    assert capsys.readouterr().err.count("cannot be written") == 1
    assert [json.loads(m["value"]) for m in manager.metrics] == [0.25, 0.5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "good", {"loss": 1.0}, None])
def test_an_intermediate_result_that_is_no_number_is_left_out_and_said(
    manager, tmp_path, capsys, value
):
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()
    trial.report_intermediate(value)
    trial.report_intermediate(0.5)
    assert "Intermediate result 0 is left out" in capsys.readouterr().err
    assert [(m["sequence"], json.loads(m["value"])) for m in manager.metrics] == [(1, 0.5)]
    trial.report_final(0.75)
    assert trial_files.read_record(trial.folder, trial_files.RESULT)["metrics"] == {"default": 0.75}


def test_a_result_that_the_disk_does_not_take_is_sent(manager, tmp_path, monkeypatch, capsys):
    trial = CurrentTrial(manager.environment(tmp_path))
    trial.parameters()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trial_files, "write_record", full)
    trial.report_final(0.5)
    assert "cannot be kept" in capsys.readouterr().err
    assert [json.loads(m["value"]) for m in manager.metrics] == [0.5]
    manager.close()
    with pytest.raises(ExperimentError, match="Nobody answers"):  # lost: that must not be silent
        trial.report_final(0.5)


def test_by_hand_a_reader_that_has_left_does_not_end_the_training():
    script = (
        "import sys\n"
        "from nas_plugin.experiment import report_final, report_intermediate\n"
        "for step in range(2000): report_intermediate(step / 2000)\n"
        "report_final(1.0); print('trained', file=sys.stderr)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={k: v for k, v in os.environ.items() if not k.startswith("NNI_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0 and said == "trained\n"
