from __future__ import annotations

import json

import pytest

from nas_plugin.cli import main
from nas_plugin.experiment.journal import Journal, journal_path


@pytest.fixture
def experiment(tmp_path):
    journal = Journal(journal_path(tmp_path))
    for number, value in enumerate((0.5, 0.75)):
        journal.append("ask", parameter=number, architecture={"a": "xy"[number]}, fidelity=None)
        journal.append(
            "end",
            trial=f"T{number}",
            parameter=number,
            attempt=0,
            outcome="succeeded",
            metrics={"default": value, "params": number},
        )
    journal.close()
    return tmp_path


def test_show_prints_the_best_and_the_pareto_set(experiment, capsys):
    assert main(["experiment", "show", str(experiment), "--pareto", "params", "-n", "1"]) == 0
    out = capsys.readouterr().out
    best = '  [1, trial T1]  default=0.75 params=1  {"a": "y"}'
    assert out.splitlines()[:2] == ["best 1 of 2 by default", best]
    assert "Pareto set: 2 of 2" in out
    assert main(["experiment", "show", str(experiment), "--metric", "flops"]) == 2
    assert "Reported: default, params" in capsys.readouterr().err


def test_export_writes_json_and_csv_and_nothing_else(experiment, capsys):
    assert main(["experiment", "export", str(experiment)]) == 0
    assert [row["trial"] for row in json.loads(capsys.readouterr().out)] == ["T0", "T1"]
    for name in ("rows.csv", "rows.json"):
        assert main(["experiment", "export", str(experiment), "--out", str(experiment / name)]) == 0
        assert "T1" in (experiment / name).read_text()
    assert main(["experiment", "export", str(experiment), "--out", "rows.xls"]) == 2


def test_check_without_nnis_database_says_so(experiment, capsys):
    assert main(["experiment", "check", str(experiment)]) == 1
    assert "nni.sqlite" in capsys.readouterr().err


def test_guard_prints_what_node_takes(capsys):
    assert main(["experiment", "guard"]) == 0
    assert capsys.readouterr().out.startswith("--require ")


def test_a_wrong_configuration_ends_with_2(tmp_path, capsys):
    pytest.importorskip("nni")
    config = tmp_path / "exp.yml"
    config.write_text("- not a mapping\n")
    assert main(["experiment", "create", "--config", str(config)]) == 2
    assert "mapping" in capsys.readouterr().err


def test_register_makes_the_tuner_known_by_name(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nni")
    from nni.tools.package_utils import get_algo_meta

    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    assert main(["experiment", "register", "--name", "Searcher"]) == 0
    assert get_algo_meta("Searcher").class_name == "nas_plugin.experiment.NasTuner"
    assert main(["experiment", "register", "--name", "TPE"]) == 2
    assert "TPE" in capsys.readouterr().err


def test_space_of_a_script_that_never_asks_is_an_error(tmp_path, capsys):
    out = str(tmp_path / "space.json")
    assert main(["space", "--command", "true", "--out", out]) == 1
    assert "get_and_apply_next_architecture" in capsys.readouterr().err
    assert main(["space", "--command", "exit 3", "--out", out]) == 1
    assert "exit code 3" in capsys.readouterr().err
