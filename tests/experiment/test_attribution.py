"""The guard's mending of NNI's parameters, before a small copy of NNI's class; and its mark."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from nas_plugin.experiment.guard import UNSURE_ROWS, guard_environment, rows_are_exact
from nas_plugin.experiment.space_format import ROW, UNSURE, from_parameters
from nas_plugin.space import Choice, SearchSpace

pytestmark = pytest.mark.processes
nni_node = pytest.importorskip("nni_node")
NODE = str(Path(nni_node.__path__[0]) / "node")

#: As NNI 3.0 does it: parameters in one queue, taken by whoever asks first.
COMPAT = """
exports.V3asV1 = class {
  constructor() {
    this.parameters = [];
    this.made = 0;
    this.sent = {};
    this.v3 = {
      createTrial: async () => { await null; return `T${this.made++}`; },
      onRequestParameter: (answer) => { this.answer = answer; },
      sendParameter: async (trial, value) => { this.sent[trial] = value; },
    };
  }
  async submitTrialJob(form) {
    this.parameters.push(form.hyperParameters.value);
    return this.v3.createTrial();
  }
  start() {
    this.v3.onRequestParameter(async (t) => this.v3.sendParameter(t, this.parameters.shift()));
  }
};
"""
GAME = """
const { V3asV1 } = require('./compat');
async function play() {
  const service = new V3asV1();
  service.start();
  const early = service.answer('T2');  // asks before it is noted
  for (const value of ['{"parameter_id": 0}', '{"parameter_id": 1}', '{"parameter_id": 2}']) {
    await service.submitTrialJob({ hyperParameters: { value } });
  }
  await early;
  await service.answer('T1');  // T0 dies before it asks
  console.log(JSON.stringify([service.sent, process.env.NAS_PLUGIN_ROWS ?? null]));
}
play();
"""


def play(folder, files):
    """Runs the game in node; returns what each trial was sent, and the guard's word for it."""
    (folder / "common").mkdir()
    (folder / "common" / "globals.js").write_text(
        f"exports.default = {{ paths: {{ experimentRoot: {json.dumps(str(folder))} }} }};"
    )
    for name, text in files.items():
        (folder / name).write_text(text)
    environment = {**os.environ, "NODE_PATH": str(folder), "NAS_PLUGIN_ROWS": "exact"}
    ended = subprocess.run(
        [NODE, "game.js"],
        cwd=folder,
        env={**environment, **guard_environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(ended.stdout)


def test_each_trial_gets_what_it_was_made_for_in_whatever_order_they_ask(tmp_path):
    sent, rows = play(tmp_path, {"compat.js": COMPAT, "game.js": GAME})
    assert {trial: json.loads(value)["parameter_id"] for trial, value in sent.items()} == {
        "T1": 1,
        "T2": 2,
    }
    assert rows == "exact"
    given = [
        json.loads(line)
        for line in (tmp_path / "nas_plugin" / "exits.jsonl").read_text().split("\n")[:-1]
    ]
    assert [(entry["trial"], entry["parameter"]) for entry in given] == [
        ("T0", 0),
        ("T1", 1),
        ("T2", 2),
    ]


def test_a_manager_of_another_make_is_left_as_it_is_and_not_called_exact(tmp_path):
    other = COMPAT.replace("createTrial", "makeTrial")
    game = GAME.replace("const early = service.answer('T2');", "const early = null;")
    sent, rows = play(tmp_path, {"compat.js": other, "game.js": game})
    assert sent == {"T1": '{"parameter_id": 0}'} and rows is None


@pytest.mark.parametrize(
    ("module", "rows"),
    [("routerTrainingService", "exact"), ("kubeflowTrainingService", "exact"), ("other", None)],
)
def test_services_that_file_by_trial_are_exact_and_a_word_from_outside_is_not(
    tmp_path, module, rows
):
    game = (
        f"require('./{module}'); console.log(JSON.stringify(process.env.NAS_PLUGIN_ROWS ?? null))"
    )
    assert play(tmp_path, {f"{module}.js": "", "game.js": game}) == rows


@pytest.mark.parametrize("word", ["exact", None])
def test_parameters_carry_the_mark_where_rows_are_not_exact(tmp_path, monkeypatch, word):
    tuner = pytest.importorskip("nas_plugin.experiment.tuner")
    monkeypatch.delenv("NAS_PLUGIN_ROWS", raising=False)
    if word is not None:
        monkeypatch.setenv("NAS_PLUGIN_ROWS", word)
    assert rows_are_exact() == (word == "exact")
    sent = []
    ours = object.__new__(tuner.NasTuner)
    monkeypatch.setattr(
        ours, "send", lambda command, data: sent.append(json.loads(data)), raising=False
    )
    ours._send_job(tuner.Job(0, 0, {"a": "x"}))
    (parameters,) = [record["parameters"] for record in sent]
    assert parameters == ({"a": "x"} if word else {"a": "x", ROW: UNSURE})
    space = SearchSpace([Choice("a", "layer", ("x", "y"))])
    assert from_parameters(parameters, space).to_json() == {"a": "x"}
    assert "_row" in UNSURE_ROWS
