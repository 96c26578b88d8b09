"""The second stage of SPOS: in process and as an NNI experiment it is the same search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas_plugin.files import read_json
from nas_plugin.reporting import read_jsonl
from tests.experiment.conftest import ROOT, Place

SCRIPTS = ROOT / "examples" / "spos"
SUPERNET = ["--data", "digits", "--device", "cpu", "--epochs", "2", "--batch-size", "64",
            "--learning-rate", "0.2", "--repeats", "1", "1", "1", "--channels", "4", "8", "16",
            "--stem", "2", "--last", "16"]  # fmt: skip
SIZES = {"population": 6, "top": 2, "crossover": 3, "mutation": 2}
EVALUATOR = ["--calibration-batches", "4", "--device", "cpu"]


def run(place: Place, name: str, *flags: str) -> None:
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *flags]
    subprocess.run(
        command, cwd=place.home, env=place.environment(), check=True, capture_output=True
    )


def test_nni_accepts_the_configuration_of_the_example() -> None:
    pytest.importorskip("nni")
    from nas_plugin.experiment.config import load_config

    config = load_config(SCRIPTS / "nni.yml")
    assert config.canonical_copy().search_space == json.loads(
        (SCRIPTS / "spos_space.json").read_text()
    )


@pytest.mark.slow
def test_the_same_paths_get_the_same_figures_in_process_and_as_trials(tmp_path: Path) -> None:
    pytest.importorskip("nni")
    place = Place(tmp_path)
    supernet = str(tmp_path / "supernet.pt")
    run(place, "supernet", *SUPERNET, "--out", str(tmp_path))
    sizes = [word for name, n in SIZES.items() for word in (f"--{name}", str(n))]
    run(place, "evolution", "--supernet", supernet, "--generations", "3", *sizes, *EVALUATOR,
        "--out", str(tmp_path))  # fmt: skip
    events = read_jsonl(tmp_path / "evolution.jsonl")
    asked = [e["proposal"]["architecture"] for e in events if e["event"] == "ask"]
    told = {e["id"]: e["outcome"]["metrics"] for e in events if e["event"] == "tell"}
    expected = [(architecture, told[i]) for i, architecture in enumerate(asked)]
    assert len(expected) == 18

    trial = f"python {SCRIPTS / 'trial.py'} --supernet {supernet} {' '.join(EVALUATOR)}"
    space = tmp_path / "space.json"
    assert place.command("space", "--command", trial, "--out", space).returncode == 0
    for concurrency in (1, 2):
        config = yaml.safe_load((SCRIPTS / "nni.yml").read_text())
        config |= {
            "searchSpaceFile": str(space),
            "trialCommand": trial,
            "trialCodeDirectory": str(SCRIPTS),
            "trialConcurrency": concurrency,
            "maxTrialNumber": 18,
        }
        config["tuner"]["codeDirectory"] = str(SCRIPTS)
        config["tuner"]["classArgs"] |= SIZES
        file = tmp_path / f"at_{concurrency}.yml"
        file.write_text(yaml.safe_dump(config))
        ended = place.command("experiment", "create", "--config", file, timeout=600)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        out = tmp_path / f"at_{concurrency}.json"
        assert place.command("experiment", "export", place.latest(), "--out", out).returncode == 0
        rows = sorted(read_json(out), key=lambda row: row["parameter"])
        assert [(row["architecture"], row["metrics"]) for row in rows] == expected
