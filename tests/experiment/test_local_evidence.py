from __future__ import annotations

import json

import pytest

from nas_plugin.errors import FileError
from nas_plugin.experiment import trial_files
from nas_plugin.experiment.local_evidence import LocalEvidence


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "environments" / "local-env" / "trials" / "T0"
    folder.mkdir(parents=True)
    return folder


def test_the_guards_record_gives_exit_code_signal_and_wish(tmp_path, folder):
    evidence = LocalEvidence(tmp_path)
    assert evidence.of("T0", "FAILED").exit_code is None
    exits = tmp_path / "nas_plugin" / "exits.jsonl"
    exits.parent.mkdir()

    def note(trial, event, **fields):
        with exits.open("a") as file:
            file.write(json.dumps({"trial": trial, "event": event, **fields}) + "\n")

    note("T0", "start")
    note("T1", "start")
    note("T1", "stop", signal="SIGINT")
    note("T0", "exit", code=3, signal=None)
    assert evidence.of("T0", "FAILED").exit_code == 3
    note("T1", "exit", code=None, signal="SIGKILL")
    stopped = evidence.of("T1", "USER_CANCELED")
    assert stopped.asked_to_stop and stopped.signal == "SIGKILL"
    note("T0", "start")  # run again after a crash
    assert evidence.of("T0", "FAILED").exit_code is None
    with exits.open("a") as file:
        file.write('{"trial": "T0", "ev')  # being written
    assert evidence.of("T0", "FAILED").exit_code is None


def test_the_trials_own_files_tell_claim_result_and_cause(tmp_path, folder):
    evidence = LocalEvidence(tmp_path)
    assert evidence.claim("T0") is None and evidence.result("T9") is None
    trial_files.write_record(folder, trial_files.CLAIM, {"trial": "T0", "parameter": 3})
    trial_files.write_record(folder, trial_files.RESULT, {"metrics": {"default": 1.0}})
    trial_files.write_record(folder, trial_files.ERROR, {"type": "ValueError", "message": "no"})
    assert evidence.claim("T0")["parameter"] == 3
    assert [c["trial"] for c in evidence.claims(set())] == ["T0"]
    assert evidence.claims({"T0"}) == []
    assert evidence.of("T0", "FAILED").message == "ValueError: no"
    trial_files.write_record(folder, trial_files.ERROR, {"type": "KeyboardInterrupt"})
    assert evidence.of("T0", "USER_CANCELED").asked_to_stop


def test_a_file_that_is_no_record_is_an_error(tmp_path, folder):
    (folder / "nas_plugin").mkdir()
    (folder / "nas_plugin" / trial_files.CLAIM).write_text("[1]")
    with pytest.raises(FileError, match="JSON object"):
        LocalEvidence(tmp_path).claim("T0")
