"""The TextNAS scripts as a user runs them, at their smallest, and what they say of wrong input."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import signal
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from nas_plugin.cli import guarded
from nas_plugin.files import load_checkpoint
from nas_plugin.reporting import read_jsonl
from nas_plugin.runtime import Interrupted
from nas_plugin.trainers import accuracy

ROOT = Path(__file__).parents[2]
SIZES = ["--layers", "2", "--width", "4", "--heads", "2", "--embedding-size", "3", "--batch-size",
         "8", "--device", "cpu", "--log-frequency", "1", "--epochs", "2"]  # fmt: skip
FEW = ["--controller-steps", "1", "--aggregate", "2", "--samples", "2"]


def script(name: str) -> ModuleType:
    path = ROOT / "examples" / "textnas" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"textnas_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


search, retrain = script("search"), script("retrain")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences in the form of SST-2 and MR, and vectors of their words."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    words = ["good", "bad", "film", "plot", "a", "the"]

    def sentences(n: int) -> str:
        return "".join(f"{i % 2} {' '.join(rng.choices(words, k=1 + i % 5))}\n" for i in range(n))

    for end, n in (("train", 96), ("dev", 12), ("test", 16)):
        (folder / f"stsa.binary.{end}").write_text(sentences(n))
    (folder / "rt-polarity.all").write_text(sentences(120))
    (folder / "glove.txt").write_text("".join(f"{w} 1 0.5 {i}\n" for i, w in enumerate(words)))
    return folder


def run_search(data: Path, out: Path, *flags: str) -> int:
    given = [*SIZES, *FEW, "--data-dir", str(data), "--out", str(out), *flags]
    return guarded(lambda: search.search(search.parse(given)))


def run_retrain(data: Path, out: Path, *flags: str) -> int:
    given = [*SIZES, "--data-dir", str(data), "--out", str(out), *flags]
    return guarded(lambda: retrain.retrain(retrain.parse(given)))


@pytest.fixture(scope="module")
def found(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("textnas")
    assert run_search(data, out) == 0
    return out


def records(file: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in record.items() if k != "time"} for record in read_jsonl(file)]


def test_search_writes_what_it_promises(found: Path) -> None:
    architecture = json.loads((found / "architecture.json").read_text())

    assert set(architecture) >= {"layer_0/op", "layer_1/input", "layer_1/op", "layer_1/skip"}
    assert (found / "checkpoints/epoch_1.json").is_file()
    # 86 of 96 sentences make 10 batches, and one controller step.
    steps = [r["step"] for r in records(found / "search.jsonl") if r["phase"] == "train"]
    assert steps == list(range(1, 23))
    assert json.loads((found / "settings.json").read_text())["width"] == 4


class Stopping:
    """An accuracy during whose n-th call the process is told to end."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)
        return accuracy(output, target)


def test_a_stopped_search_goes_on_to_the_same_end(
    data: Path, found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("nas_plugin.scripts.run.accuracy", Stopping(7))
        with pytest.raises(Interrupted, match="143"):
            run_search(data, tmp_path)
    assert run_search(data, tmp_path) == 2
    assert run_search(data, tmp_path, "--resume") == 0

    assert records(tmp_path / "search.jsonl") == records(found / "search.jsonl")
    for name in ("architecture.json", "checkpoints/epoch_0.json"):
        assert (tmp_path / name).read_text() == (found / name).read_text()


END = re.compile(
    r"test accuracy ([\d.]+) % with the weights of epoch (\d), the best in validation "
    r"\(([\d.]+) %\); "
    r"parameters [\d,]+, (\d+) of them in the embedding"
)


def test_retraining_reports_the_test_accuracy_of_the_epoch_that_validation_chose(
    data: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flags = ["--arc-checkpoint", str(found / "architecture.json"), "--epochs", "3"]
    assert run_retrain(data, tmp_path, *flags) == 0
    match = END.search(capsys.readouterr().out)
    assert match is not None

    log = records(tmp_path / "retrain.jsonl")
    valid = [float(str(r["valid_accuracy"])) for r in log if r["phase"] == "epoch"]
    (test,) = [r for r in log if r["phase"] == "test"]
    chosen = valid.index(max(valid))
    assert match[2] == str(chosen + 1) and match[3] == f"{100 * max(valid):.2f}"
    assert match[1] == f"{100 * float(str(test['accuracy'])):.2f}"
    assert test["chosen_epoch"] == chosen
    assert match[4] == str(8 * 3)  # six words, padding and unknown
    assert load_checkpoint(tmp_path / "model.pt")["embedding.weight"].shape == (8, 3)

    with monkeypatch.context() as patch:
        patch.setattr("nas_plugin.scripts.run.accuracy", Stopping(17))
        with pytest.raises(Interrupted, match="143"):
            run_retrain(data, tmp_path / "b", *flags)
    assert run_retrain(data, tmp_path / "b", *flags, "--resume") == 0
    assert records(tmp_path / "b" / "retrain.jsonl") == log


def test_a_file_with_nnis_counters_is_retrained(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "arc.json"
    no, yes = [False], [True]
    file.write_text(json.dumps({
        "LayerChoice1": no * 6 + yes + no, "InputChoice2": yes, "LayerChoice3": no * 7 + yes,
        "InputChoice4": no,
    }))  # fmt: skip
    assert run_retrain(data, tmp_path, "--arc-checkpoint", str(file), "--epochs", "1") == 0

    names = load_checkpoint(tmp_path / "model.pt")
    assert any(name.startswith("layers.0.op.gru") for name in names)
    assert any(name.startswith("layers.1.op.project") for name in names)


def test_word_vectors_and_a_set_without_validation_file(data: Path, tmp_path: Path) -> None:
    flags = ["--data", "mr", "--glove", str(data / "glove.txt"), "--epochs", "1"]
    assert run_search(data, tmp_path, *flags) == 0
    arc = str(tmp_path / "architecture.json")
    rate = ["--learning-rate", "1e-30", "--weight-decay", "0"]
    assert run_retrain(data, tmp_path, *flags, *rate, "--arc-checkpoint", arc) == 0
    table = load_checkpoint(tmp_path / "model.pt")["embedding.weight"]
    # All six words occur; each vector begins with 1 and 0.5.
    expected = torch.tensor([[1, 0.5, i] for i in range(6)])
    assert torch.allclose(table[2:].sort(dim=0).values, expected)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--data sst5", "'sst5' was not found"),
        ("--glove none.txt", "There is no file none.txt"),
        ("--max-length 0", "max_length must be a positive"),
        ("--min-count 999", "Lower min_count"),
        ("--limit 12", "training set is too small"),
        ("--heads 3", "do not divide into 3 heads"),
        ("--tanh-constant 0", "tanh_constant"),
        ("--samples 0", "samples must be at least 1"),
        ("--aggregate 0", "mutator_steps_aggregate"),
        ("--epochs 0", "num_epochs must be a positive"),
    ],
)
def test_wrong_flags_get_one_clear_line(
    data: Path, tmp_path: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(data, tmp_path, *flags.split()) in (1, 2)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and message in last


def test_wrong_vectors_are_named_with_file_and_line(
    data: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--glove", str(data / "glove.txt"), "--embedding-size", "4"]
    arc = str(found / "architecture.json")
    assert run_retrain(data, tmp_path, *flags, "--arc-checkpoint", arc) == 1
    assert "glove.txt, line 1: expected a word and 4 numbers, found 3" in capsys.readouterr().err
