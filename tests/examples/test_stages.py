"""The scripts of P-DARTS and CDARTS as a user runs them; DARTS' script retrains what they find."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from nas_plugin.cli import guarded

ROOT = Path(__file__).parents[2]
TINY = ["--channels", "2", "--nodes", "2", "--batch-size", "8", "--limit", "48", "--data",
        "digits", "--device", "cpu", "--limit-batches", "1"]  # fmt: skip
FLAGS = {
    "pdarts": ["--layers", "1", "--add-layers", "0", "1", "--drop", "5", "2", "--skip-dropout",
               "0.1", "0.4", "--epochs", "2", "--stop", "ranking"],
    "cdarts": ["--layers", "3", "--large-layers", "4", "--epochs", "2", "--warmup-epochs", "1"],
}  # fmt: skip


def script(folder: str, name: str) -> ModuleType:
    path = ROOT / "examples" / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{folder}_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", FLAGS)
def test_what_is_found_is_retrained(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search, retrain = script(folder, "search"), script("darts", "retrain")
    flags = [*TINY, *FLAGS[folder], "--out", str(tmp_path)]
    assert guarded(lambda: search.search(search.parse(flags))) == 0
    found = json.loads((tmp_path / "architecture.json").read_text())
    assert sum(key.endswith("switch") for key in found) == (2 if folder == "pdarts" else 4)

    # A search that is over is resumed to the same end.
    assert guarded(lambda: search.search(search.parse([*flags, "--resume"]))) == 0
    assert json.loads((tmp_path / "architecture.json").read_text()) == found

    sizes = ["--layers", "2" if folder == "pdarts" else "3", "--aux-weight", "0", "--epochs", "1"]
    flags = [*TINY, *sizes, "--out", str(tmp_path / "retrain"),
             "--arc-checkpoint", str(tmp_path / "architecture.json")]  # fmt: skip
    assert guarded(lambda: retrain.main(retrain.parse(flags))) == 0
    assert "test accuracy" in capsys.readouterr().out
