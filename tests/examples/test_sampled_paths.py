"""The scripts of ENAS, SPOS, ProxylessNAS and random search, at their smallest."""

from __future__ import annotations

import argparse
import importlib.util
import re
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas_plugin.cli import guarded
from nas_plugin.commands import profile
from nas_plugin.files import load_checkpoint
from nas_plugin.reporting import read_jsonl
from nas_plugin.runtime import Interrupted
from nas_plugin.scripts import read_supernet
from nas_plugin.space.cost_table import CostTable

ROOT = Path(__file__).parents[2]
RUN = ["--data", "digits", "--limit", "96", "--epochs", "2", "--batch-size", "8", "--device", "cpu",
       "--log-frequency", "1", "--limit-batches", "3"]  # fmt: skip
SPOS = ["--repeats", "1", "1", "--channels", "4", "8", "--stem", "2", "--last", "4"]
MOBILE = ["--repeats", "1", "2", "--channels", "4", "4", "--strides", "1", "1", "--stem", "2",
          "--first", "2", "--last", "4"]  # fmt: skip
CELLS = ["--layers", "3", "--channels", "2"]
FEW = ["--controller-steps", "1", "--aggregate", "2", "--samples", "2"]
SEARCHES: dict[str, tuple[str, list[str], list[str]]] = {
    "macro": ("enas", ["--search-for", "macro", *CELLS], FEW),
    "micro": ("enas", ["--search-for", "micro", "--nodes", "1", *CELLS], FEW),
    "proxylessnas": ("proxylessnas", MOBILE, ["--warmup-epochs", "1", "--arch-every", "2"]),
    "random_nas": ("random_nas", ["--channels", "2", "--cells", "1"], ["--samples", "3"]),
}
EVOLUTION = ["--generations", "2", "--population", "4", "--top", "2", "--crossover", "2",
             "--mutation", "1", "--calibration-batches", "2", "--device", "cpu"]  # fmt: skip


def script(folder: str, name: str) -> ModuleType:
    path = ROOT / "examples" / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def search(kind: str, out: Path, *flags: str) -> int:
    folder, sizes, own = SEARCHES[kind]
    module = script(folder, "search")
    given = [*RUN, *sizes, *own, "--out", str(out), *flags]
    return guarded(lambda: module.search(module.parse(given)))


def retrain(kind: str, out: Path, *flags: str) -> int:
    folder, sizes, _ = SEARCHES.get(kind, (kind, SPOS, []))
    module = script(folder, "retrain")
    given = [*RUN, *sizes, "--out", str(out), *flags]
    main = getattr(module, "main", None)
    if main is not None:
        return guarded(lambda: main(module.parse(given)))
    builder = module.proxylessnas if kind == "proxylessnas" else module.spaces.get("nasbench201")
    return guarded(lambda: module.retrain(module.parse(given), builder))


def supernet(out: Path, *flags: str) -> int:
    module = script("spos", "supernet")
    given = [*RUN, *SPOS, "--out", str(out), *flags]
    return guarded(lambda: module.train(module.parse(given)))


def evolve(trained: Path, out: Path, *flags: str) -> int:
    module = script("spos", "evolution")
    given = ["--supernet", str(trained / "supernet.pt"), *EVOLUTION, "--out", str(out), *flags]
    return guarded(lambda: module.evolve(module.parse(given)))


def log(file: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "time"} for record in read_jsonl(file)]


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the next run end as if a signal had come after a number of steps."""
    from nas_plugin.trainers import Trainer

    def arrange(step: int) -> None:
        original = Trainer._stop_if_asked

        def stop(self: Trainer, guard: Any) -> None:
            if self.step == step:
                monkeypatch.setattr(Trainer, "_stop_if_asked", original)
                guard.code = 128 + signal.SIGTERM
            original(self, guard)

        monkeypatch.setattr(Trainer, "_stop_if_asked", stop)

    return arrange


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_that_was_stopped_ends_as_one_without_a_break_and_is_retrained(
    kind: str, tmp_path: Path, stop_after: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert search(kind, whole) == 0
    stop_after(2)
    with pytest.raises(Interrupted):
        search(kind, broken)
    assert search(kind, broken, "--resume") == 0
    assert log(whole / "search.jsonl") == log(broken / "search.jsonl")
    found = whole / "architecture.json"
    assert found.read_text() == (broken / "architecture.json").read_text()

    capsys.readouterr()
    assert retrain(kind, tmp_path, "--arc-checkpoint", str(found)) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"test accuracy [\d.]+ % with the weights of epoch \d+, the best in validation "
        r"\([\d.]+ %\), "
        r"parameters [\d,]+, FLOPs [\d.]+ M",
        printed,
    )
    assert retrain(kind, tmp_path, "--arc-checkpoint", str(found)) == 2
    assert retrain(kind, tmp_path, "--arc-checkpoint", str(found), "--resume") == 0
    assert load_checkpoint(tmp_path / "model.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("spos")
    assert supernet(out) == 0
    return out


def test_a_supernet_that_was_stopped_ends_as_one_without_a_break(
    trained: Path, tmp_path: Path, stop_after: Any
) -> None:
    stop_after(4)
    with pytest.raises(Interrupted):
        supernet(tmp_path)
    assert supernet(tmp_path, "--resume") == 0

    whole, broken = read_supernet(trained / "supernet.pt"), read_supernet(tmp_path / "supernet.pt")
    assert all(bool((broken["model"][k] == v).all()) for k, v in whole["model"].items())
    assert whole["sizes"] == broken["sizes"] and whole["data"] == broken["data"]


def test_the_second_stage_goes_on_where_it_was_and_is_retrained(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evolve(trained, tmp_path / "whole") == 0
    lines = (tmp_path / "whole" / "evolution.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "evolution.jsonl").write_text("".join(lines[:8]))
    assert evolve(trained, tmp_path) == 2
    assert "Pass --resume" in capsys.readouterr().err
    assert evolve(trained, tmp_path, "--resume") == 0

    found = tmp_path / "architecture.json"
    assert found.read_text() == (tmp_path / "whole" / "architecture.json").read_text()
    assert retrain("spos", tmp_path, "--arc-checkpoint", str(found)) == 0


def test_only_paths_within_the_limit_are_looked_at(trained: Path, tmp_path: Path) -> None:
    assert evolve(trained, tmp_path, "--max-flops", "0.0305") == 0

    table = CostTable.read(tmp_path / "flops.json")
    events = log(tmp_path / "evolution.jsonl")
    proposed = [e["proposal"]["architecture"] for e in events if e["event"] == "ask"]
    assert len(proposed) == 8
    assert max(table(a) for a in proposed) <= 30500


def test_a_trial_by_hand_says_what_evolution_said(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert evolve(trained, tmp_path) == 0
    best = re.search(r"([\d.]+) % in validation", capsys.readouterr().out)
    module = script("spos", "trial")
    architecture = str(tmp_path / "architecture.json")
    given = ["--supernet", str(trained / "supernet.pt"), "--calibration-batches", "2",
             "--device", "cpu", "--arc-checkpoint", architecture]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["trial.py", *given])
    module.trial(module.parse(given))
    again = re.search(r"default=([\d.]+)", capsys.readouterr().out)
    assert best is not None and again is not None
    assert f"{float(again[1]):.2f}" == best[1]


@pytest.mark.parametrize("flags", [["--fair"], ["--flops-window", "0", "1"]])
def test_fair_paths_and_a_window_of_flops_train(tmp_path: Path, flags: list[str]) -> None:
    assert supernet(tmp_path, "--epochs", "1", *flags) == 0


def test_latency_from_a_profiled_table_is_searched_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["classes=10", "in_channels=1", "small_images=true", "repeats=[1,2]", "channels=[4,4]",
             "strides=[1,1]", "stem=2", "first=2", "last=4"]  # fmt: skip

    parser = argparse.ArgumentParser()
    profile.add_arguments(parser)
    words = ["--space", "proxylessnas", "--input", "1,1,8,8", "--latency", "--repeats", "1",
             "--out", str(tmp_path / "ms.json")]  # fmt: skip
    profile.run(parser.parse_args([*words, *(w for s in sizes for w in ("--set", s))]))
    table = ["--latency-table", str(tmp_path / "ms.json"), "--latency-weight", "0.1"]
    assert search("proxylessnas", tmp_path, "--epochs", "1", "--warmup-epochs", "0", *table) == 0
    assert "its latency by the table" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda out: supernet(out, "--fair", "--flops-window", "0", "1"), "no --flops-window"),
        (lambda out: supernet(out, "--flops-window", "1e9", "2e9"), "Widen the window"),
        (lambda out: evolve(out, out), "There is no file"),
        (lambda out: search("random_nas", out, "--samples", "0"), "at least 1"),
        (lambda out: search("micro", out, "--layers", "4"), "multiple of 3"),
        (lambda out: search("proxylessnas", out, "--latency-weight", "1"), "latency table"),
    ],
)
def test_wrong_flags_get_one_clear_line(
    tmp_path: Path, run: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) in (1, 2)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and message in last
