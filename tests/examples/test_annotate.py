"""The annotation script as a user runs it, at its smallest."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "annotate"


def test_a_plain_network_is_searched_and_retrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("annotate_search", FOLDER / "search.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    script.search(
        script.parse(
            ["--epochs", "1", "--channels", "2", "--batch-size", "256", "--device", "cpu",
             "--out", str(tmp_path)]
        )
    )  # fmt: skip

    architecture = json.loads((tmp_path / "architecture.json").read_text())
    assert sorted(architecture) == [f"blocks/{i}/conv{j}" for i in range(4) for j in (1, 2)]
    said = capsys.readouterr().out
    assert "8 choices, 390,625 architectures" in said and "weights of epoch 1, the best in" in said
    assert "nas_plugin" not in (FOLDER / "resnet.py").read_text()
