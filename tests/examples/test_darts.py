"""The DARTS scripts as a user runs them, at their smallest, and what they say of wrong input."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nas_plugin.cli import guarded
from nas_plugin.reporting import read_jsonl

ROOT = Path(__file__).parents[2]
TINY = ["--layers", "3", "--channels", "2", "--nodes", "2", "--epochs", "2", "--batch-size", "8",
        "--limit", "48", "--data", "digits", "--device", "cpu", "--log-frequency", "1"]  # fmt: skip


def script(name: str) -> ModuleType:
    path = ROOT / "examples" / "darts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"darts_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


search, retrain = script("search"), script("retrain")


def run_search(out: Path, *flags: str) -> int:
    return guarded(lambda: search.search(search.parse([*TINY, "--out", str(out), *flags])))


def run_retrain(out: Path, *flags: str) -> int:
    return guarded(lambda: retrain.main(retrain.parse([*TINY, "--out", str(out), *flags])))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("darts")
    assert run_search(out) == 0
    return out


def test_search_writes_what_it_promises(found: Path) -> None:
    epochs = [json.loads((found / f"checkpoints/epoch_{e}.json").read_text()) for e in (0, 1)]
    records = read_jsonl(found / "search.jsonl")

    assert json.loads((found / "architecture.json").read_text()) == epochs[1]
    assert [r["step"] for r in records if r["phase"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert len([r for r in records if r["phase"] == "choices"]) == 2
    assert (found / "cells/epoch_1.svg").read_text().startswith("<svg")
    assert list((found / "tensorboard/search").glob("events*"))
    assert json.loads((found / "settings.json").read_text())["channels"] == 2


def test_retrain_ends_with_accuracy_parameters_and_flops(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = found / "checkpoints" / "epoch_1.json"
    assert run_retrain(tmp_path, "--arc_checkpoint", str(file), "--aux-weight", "0") == 0

    out = capsys.readouterr().out
    assert re.search(
        r"test accuracy [\d.]+ % with the weights of epoch \d+, the best in validation "
        r"\([\d.]+ %\), "
        r"parameters [\d,]+, FLOPs [\d.]+ M",
        out,
    )
    assert (tmp_path / "model.pt").is_file()


def test_a_published_cell_is_retrained_by_its_name(tmp_path: Path) -> None:
    flags = ["--arc-checkpoint", "darts_v2", "--nodes", "4", "--epochs", "1"]
    assert run_retrain(tmp_path, *flags) == 0


@pytest.mark.parametrize("flag", ["--unrolled", "--precision=bf16", "--accumulate=2"])
def test_the_options_run(tmp_path: Path, flag: str) -> None:
    assert run_search(tmp_path, flag, "--epochs", "1") == 0


def test_a_second_run_needs_resume_or_another_folder(
    found: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(found) == 2
    assert "--resume" in capsys.readouterr().err
    assert run_search(found, "--resume") == 0


BAD_FLAGS = {
    "--data digitz": "Unknown data set 'digitz'. Did you mean 'digits'?",
    "--data none.npz": "There is no file none.npz",
    "--data cifar10 --data-dir nowhere": "data set 'cifar10' was not found",
    "--limit 0": "limit must be a positive",
    "--image-size 32": "The data set 'digits' does not take size",
    "--limit 12": "training set is too small",
    "--layers 0": "must be positive",
    "--channels 0": "must be positive",
    "--nodes 0": "must be positive",
    "--epochs 0": "num_epochs must be a positive",
    "--batch-size 0": "batch_size must be a positive",
    "--accumulate 99": "accumulate=99 parts",
    "--grad-clip -1": "grad_clip must be positive",
    "--mutator gdsa": "Unknown mutator 'gdsa'",
    "--mutator random": "needs a mutator that gives",
    "--device cuda:77": "no GPU",
    "--device abacus": "Unknown device",
    "--log-frequency 0": "log_frequency must be a positive",
    "--checkpoint-every -3": "checkpoint_every must be a positive",
    "--limit-batches 0": "limit_batches must be a positive",
    "--workers -1": "workers not negative",
    "--learning-rate 1e30": "Lower the learning rate",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_wrong_flags_get_one_clear_line(
    tmp_path: Path, flags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_search(tmp_path / "out", *flags.split())

    error = capsys.readouterr().err
    last = error.strip().splitlines()[-1]
    assert code in (1, 2)
    assert last.startswith("error: ") and BAD_FLAGS[flags] in last
    assert "Traceback" not in error


BAD_FILES = {
    "": "is not JSON",
    "[]": "is not an architecture file",
    '{"normal_n2_p0": "conv9x9"}': "lacks the key",
    '{"normal_n2_swich": []}': "Did you mean 'normal_n2_switch'",
    '{"LayerChoice1": 0}': "counters",
    '{"a": 1, "a": 2}': "twice",
    '{"a": NaN}': "NaN",
}


@pytest.mark.parametrize("content", BAD_FILES)
def test_wrong_architecture_files_get_one_clear_line(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "arc.json"
    file.write_text(content)

    assert run_retrain(tmp_path / "out", "--arc-checkpoint", str(file)) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and BAD_FILES[content] in last


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--arc-checkpoint none.json", "There is no file none.json"),
        ("--arc-checkpoint darts_v9", "no published cell 'darts_v9'; known: darts_v1, darts_v2"),
        ("--arc-checkpoint darts_v2 --nodes 4 --drop-path-prob 1", "drop_path_prob"),
        ("--arc-checkpoint darts_v2 --nodes 4 --aux-weight -1", "aux_weight"),
        ("--arc-checkpoint darts_v2 --nodes 3", "does not know"),
    ],
)
def test_wrong_retraining_gets_one_clear_line(
    tmp_path: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_retrain(tmp_path / "out", *flags.split()) in (1, 2)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and message in last


def test_a_damaged_checkpoint_is_named(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoints" / "search"
    folder.mkdir(parents=True)
    (folder / "step_3.ckpt").write_bytes(b"nas_plugin checkpoint 1\n" + bytes(99))

    assert run_search(tmp_path, "--resume") == 1
    assert "step_3.ckpt is damaged" in capsys.readouterr().err


def test_data_of_ones_own_is_searched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (48, 8, 8), dtype=np.uint8)
    labels = np.arange(48) % 3
    file = tmp_path / "own.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)

    assert run_search(tmp_path / "out", "--data", str(file), "--epochs", "1") == 0


def test_a_folder_of_images_is_searched_at_the_size_of_a_flag(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("test", 4)):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                image.fromarray(pixels).save(folder / f"{i}.png")
    flags = ["--layers", "3", "--channels", "2", "--nodes", "2", "--epochs", "1", "--batch-size",
             "4", "--data", str(tmp_path / "images"), "--image-size", "8", "--device",
             "cpu"]  # fmt: skip

    out = str(tmp_path / "out")
    assert guarded(lambda: search.search(search.parse([*flags, "--out", out]))) == 0


@pytest.mark.processes
def test_sigterm_saves_and_exits_143_and_resume_equals_a_run_without_a_break(
    found: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(ROOT / "examples/darts/search.py"), *TINY, "--out", "."]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = tmp_path / "search.jsonl"
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143, error.decode()

    done = subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0
    logs = [
        [{k: v for k, v in record.items() if k != "time"} for record in read_jsonl(path)]
        for path in (log, found / "search.jsonl")
    ]
    assert logs[0] == logs[1]
    name = "architecture.json"
    assert (tmp_path / name).read_text() == (found / name).read_text()


@pytest.mark.processes
def test_two_ranks_of_torchrun_search_together(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--standalone", str(ROOT / "examples/darts/search.py"), *TINY,
               "--batch-size", "4", "--out", str(tmp_path)]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "architecture.json").is_file()
    records = read_jsonl(tmp_path / "search.jsonl")
    assert [r["step"] for r in records if r["phase"] == "train"] == [1, 2, 3, 4, 5, 6]
