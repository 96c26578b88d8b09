from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from nas_plugin.errors import ConfigError
from nas_plugin.experiment.config import load_config
from nas_plugin.experiment.space_format import from_nni, to_nni
from tests.experiment.conftest import ROOT

EXAMPLES = ROOT / "examples" / "nni"
CONFIGS = sorted(EXAMPLES.glob("*.yml"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    pytest.importorskip("nni")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text("a key file must exist")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_nni_accepts_every_configuration_of_the_examples(path, home):
    config = load_config(path)
    named = yaml.safe_load(path.read_text())["searchSpaceFile"]
    assert config.canonical_copy().search_space == json.loads((EXAMPLES / named).read_text())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "mapping"),
        ("a: [", "line 1"),
        ("trialConcurency: 2", "trialconcurency"),
        ("trialConcurrency: 2", "NNI does not accept"),
    ],
)
def test_a_wrong_configuration_is_an_error_that_names_the_file(tmp_path, home, text, said):
    path = tmp_path / "exp.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="There is no file"):
        load_config(tmp_path / "missing.yml")


@pytest.mark.parametrize("script", ["digits", "darts"])
def test_a_space_file_is_that_of_its_script(script, tmp_path):
    out = tmp_path / "space.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = f"{sys.executable} {EXAMPLES / script}.py"
    subprocess.run(
        [sys.executable, "-m", "nas_plugin", "space", "--command", command, "--out", str(out)],
        check=True,
        env=environment,
        capture_output=True,
    )
    written = json.loads(out.read_text())
    assert written == json.loads((EXAMPLES / f"{script}_space.json").read_text())
    assert to_nni(from_nni(written)) == written
