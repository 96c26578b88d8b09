"""The scripts that compose a search by flags, as a user runs them, at their smallest."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from nas_plugin.cli import guarded
from nas_plugin.mutators import mutators

ROOT = Path(__file__).parents[2]
TINY = ["--data", "digits", "--device", "cpu", "--epochs", "1", "--batch-size", "8",
        "--limit", "32", "--limit-batches", "2"]  # fmt: skip
SMALL = [*TINY, "--channels", "4", "--cells-per-stage", "1", "--train-size", "100",
         "--samples", "2"]  # fmt: skip


def script(folder: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"{folder}_{name}", ROOT / "examples" / folder / f"{name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: str, name: str, flags: list[str], out: Path) -> int:
    module = script(folder, name)
    main = module.search if name == "search" else module.main
    return guarded(lambda: main(module.parse([*flags, "--out", str(out)])))


def small(out: Path, *flags: str) -> int:
    return run("nasbench201", "search", [*SMALL, *flags], out)


@pytest.mark.parametrize("name", [n for n in mutators.names() if n != "enas"])
def test_every_mutator_searches_the_benchmark_and_its_cell_is_looked_up(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert small(tmp_path, "--mutator", name) == 0
    out = capsys.readouterr().out

    assert re.search(r"architecture \|\w+~0\|\+\|\w+~0\|\w+~1\|\+\|\w+~0\|\w+~1\|\w+~2\|", out)
    found = re.search(r"cifar10: test accuracy ([\d.]+) %, rank ([\d,]+) of 15,625", out)
    assert found or "no true accuracies" in out
    if found:
        assert 10 <= float(found[1]) <= 94.4 and 1 <= int(found[2].replace(",", "")) <= 15_625
    assert json.loads((tmp_path / "architecture.json").read_text())


def test_parts_are_composed_by_flags(tmp_path: Path) -> None:
    flags = ["--perturbation", "adversarial", "--partial", "2", "--cost", "flops:1e3",
             "--cost", "params:100", "--auxiliary-skip", "--regularizer",
             "flops_factor:power=0.5"]  # fmt: skip
    assert small(tmp_path, "--mutator", "snas", *flags) == 0
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["perturbation"] == "adversarial" and settings["partial"] == 2
    assert small(tmp_path / "single", "--mutator", "didarts", "--single-level") == 0


@pytest.mark.slow
def test_the_controller_takes_a_cost(tmp_path: Path) -> None:
    assert small(tmp_path, "--mutator", "enas", "--cost", "flops:1e3") == 0


@pytest.mark.parametrize("folder", ["darts", "pc_darts", "nasbench201"])
def test_help_offers_the_mutators_that_the_trainer_takes(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script(folder, "search").parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    offered = re.search(r"--mutator MUTATOR one of ([\w, ]+?) \(default: (\w+)\) --", text)
    assert offered is not None and offered[2] in offered[1].split(", ")
    paths = {"enas", "random", "spos", "fairnas"}
    expected = set(mutators.names()) - (set() if folder == "nasbench201" else paths)
    assert set(offered[1].split(", ")) == expected
    second = re.search(r"second order, for --mutator ([\w, ]+?) --", text)
    assert (second is None) == (folder == "pc_darts")
    if second is not None:
        # Whose mixes are the same in each pass, by hand.
        assert {"darts", "xnas"} <= set(second[1].split(", "))
        assert not {"gdas", "proxyless", "random"} & set(second[1].split(", "))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mutator", "spos", "--single-level"], "--single-level cannot be combined with"),
        (["--mutator", "proxyless", "--unrolled"], "--unrolled cannot be combined with"),
        (["--single-level", "--unrolled"], "exclude each other"),
        (["--mutator", "gdas", "--perturbation", "random"], "cannot be combined with GdasMutator"),
        (
            ["--mutator", "spos", "--cost", "flops:1"],
            "--cost cannot be combined with --mutator",
        ),
        (["--cost", "flops"], "--cost is KIND:TARGET"),
        (["--cost", "watts:3"], "one of flops, latency, params"),
        (["--regularizer", "skips"], "Unknown regularizer 'skips'"),
        (["--mutator", "pc_darts", "--channels", "6"], "must be a multiple of partial"),
    ],
)
def test_what_does_not_fit_is_said_without_a_traceback(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert small(tmp_path, *flags) != 0
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_pc_darts_searches_and_the_dart_script_retrains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--layers", "3", "--channels", "4", "--nodes", "2"]
    assert run("pc_darts", "search", [*TINY, *sizes], tmp_path) == 0
    file = str(tmp_path / "architecture.json")
    flags = [*TINY, *sizes, "--arc-checkpoint", file, "--aux-weight", "0"]
    assert run("darts", "retrain", flags, tmp_path / "retrain") == 0
    assert "% with the weights of epoch 1, the best" in capsys.readouterr().out


def test_the_darts_script_takes_other_methods(tmp_path: Path) -> None:
    sizes = ["--layers", "3", "--channels", "4", "--nodes", "2"]
    flags = ["--mutator", "xnas", "--edge-normalisation"]
    assert run("darts", "search", [*TINY, *sizes, *flags], tmp_path / "refused") != 0
    assert run("darts", "search", [*TINY, *sizes, "--mutator", "xnas"], tmp_path / "xnas") == 0
