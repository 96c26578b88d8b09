"""The experiment file is checked before anything starts, each mistake with one clear error."""

from __future__ import annotations

import base64
import json
import pickle

import pytest

from nas_plugin.cli import main
from nas_plugin.errors import ConfigError

pytest.importorskip("nni")

from nas_plugin.experiment.config import TUNER_CLASS, load_config

SPACE = {"a": {"_type": "choice", "_value": ["x", "y"]}}
BASE = {
    "searchSpaceFile": "space.json",
    "trialCommand": "python trial.py",
    "trialConcurrency": 1,
    "maxTrialNumber": 3,
    "tuner": {"className": TUNER_CLASS, "classArgs": {"strategy": "random"}},
    "trainingService": {"platform": "local"},
}


def write(folder, space=SPACE, **changes):
    (folder / "space.json").write_text(space if isinstance(space, str) else json.dumps(space))
    path = folder / "exp.yml"
    path.write_text(json.dumps({**BASE, **changes}))
    return path


def ours(**arguments):
    return {"className": TUNER_CLASS, "classArgs": {"strategy": "random", **arguments}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trialConcurrency": 0}, "trialConcurrency must be a whole number of at least 1, got 0"),
        ({"maxTrialNumber": -1}, "maxTrialNumber must be a whole number of at least 1, got -1"),
        ({"maxTrialNumber": True}, "got True"),
        ({"maxTrialDuration": "-3s"}, "does not accept"),
        ({"logLevel": "loud"}, "this does not hold: self.log_level in"),
        ({"trainingService": {"platform": "moon"}}, "platform 'moon'.*local, remote"),
        ({"trainingService": [{"platform": "openpai"}]}, "platform 'openpai'"),
        ({"searchSpaceFile": "missing.json"}, "There is no file .*missing.json"),
        ({"searchSpace": SPACE}, "searchSpace and searchSpaceFile"),
        ({"tuner": ours(retries=True)}, "retries must be a whole number of at least 0, got True"),
        ({"tuner": ours(seed="x")}, "seed must be a whole number of at least 0, got 'x'"),
        ({"tuner": ours(populatoin=3)}, "populatoin"),
        ({"tuner": ours(strategy="dinosaurs")}, "dinosaurs"),
        ({"tuner": {"name": "TPE", "classArgs": {"optimise_mode": "maximize"}}}, "optimise_mode"),
        ({"tuner": {"name": "TPE", "classArgs": [1]}}, "classArgs must be a mapping"),
        ({"tuner": {"name": "TPE", "classArgs": {"__nni_type__": "bytes:x"}}}, "__nni_type__"),
        ({"space": {"a": {"_type": "uniform", "_value": [0, 1]}}}, "uniform"),
        ({"space": '{"a": 1, "a": 2}'}, "'a' twice"),
        ({"space": "[" * 100}, "nested 100 deep"),
    ],
)
def test_a_mistake_is_one_error_with_code_2(tmp_path, capsys, changes, said):
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(path)
    assert str(path) in str(caught.value) or "space.json" in str(caught.value)
    assert main(["experiment", "create", "--config", str(path)]) == 2
    assert "Traceback" not in capsys.readouterr().err


REFUSED = """
    Anneal BOHB bohb SMAC DNGO DNGOTuner PBT PBTTuner GP Metis Hyperband Batch NetworkMorphism
    TPE_legacy PPOTuner
"""


@pytest.mark.parametrize("name", REFUSED.split())
def test_tuners_of_nni_that_cannot_search_choices_are_refused_by_name(tmp_path, name):
    for kind in ("tuner", "advisor"):
        changes = {"tuner": {"name": "Random"}} | {kind: {"name": name}}
        with pytest.raises(ConfigError, match=f"'{name}'.*TPE, Random, Evolution, GridSearch"):
            load_config(write(tmp_path, **changes))


@pytest.mark.parametrize("name", ["TPE", "tpe", "Random", "Evolution", "GridSearch"])
def test_tuners_of_nni_that_can_come_behind_our_adapter(tmp_path, name):
    tuner = load_config(write(tmp_path, tuner={"name": name})).tuner
    assert tuner.class_name == TUNER_CLASS
    assert tuner.class_args["strategy"].lower() == f"nni.{name.lower()}"


class Payload:
    def __reduce__(self):
        return open, ("ran", "w")


@pytest.mark.parametrize("tuner", [{"name": "TPE"}, ours(), {"name": "NasPlugin"}])
@pytest.mark.parametrize("inline", [False, True])
def test_a_pickle_in_the_search_space_never_reaches_nnis_loader(
    tmp_path, monkeypatch, tuner, inline
):
    monkeypatch.chdir(tmp_path)
    text = base64.b64encode(pickle.dumps(Payload())).decode()
    space = {"a": {"_type": "choice", "_value": ["x", {"__nni_type__": f"bytes:{text}"}]}}
    changes = {"searchSpace": space, "searchSpaceFile": None} if inline else {"space": space}
    with pytest.raises(ConfigError, match=r"__nni_type__.*code"):
        load_config(write(tmp_path, tuner=tuner, **changes))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "flags",
    [
        *[["--port", value] for value in ("0", "x", "65536")],
        *[["--idle", value] for value in ("nan", "0", "inf")],
        ["--restart", "-1"],
    ],
)
def test_a_flag_out_of_range_is_named(capsys, flags):
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "create", "--config", "exp.yml", *flags])
    assert ended.value.code == 2 and flags[0] in capsys.readouterr().err
