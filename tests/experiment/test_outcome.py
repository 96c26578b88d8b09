from __future__ import annotations

import pytest

from nas_plugin.experiment.outcome import RETRIED, Evidence, judge

PROPOSED = {"a": "x"}


@pytest.mark.parametrize(
    ("evidence", "outcome", "said"),
    [
        (Evidence("SUCCEEDED", 0, metrics={"default": 1.0}), "succeeded", ""),
        (
            Evidence("SUCCEEDED", 0, metrics={"default": 1.0}, architecture={"a": "x"}),
            "succeeded",
            "",
        ),
        (Evidence("SUCCEEDED", metrics={"default": 1.0}), "succeeded", ""),
        (Evidence("FAILED", 3), "failed", "exit code 3"),
        (Evidence("FAILED", 1, message="ValueError: no"), "failed", "ValueError: no"),
        (Evidence("FAILED"), "failed", "other than 0"),
        (Evidence("FAILED", 3, metrics={"default": 1.0}), "failed", "exit code 3"),
        (Evidence("USER_CANCELED", None, "SIGKILL"), "killed", "SIGKILL"),
        (Evidence("USER_CANCELED", None, "SIGSEGV"), "killed", "SIGSEGV"),
        (Evidence("USER_CANCELED"), "killed", "a signal"),
        (Evidence("FAILED", 137), "killed", "SIGKILL"),
        (Evidence("USER_CANCELED", None, "SIGINT"), "stopped", "user"),
        (Evidence("USER_CANCELED", None, "SIGKILL", asked_to_stop=True), "stopped", "user"),
        (Evidence("FAILED", 130), "stopped", "user"),
        (Evidence("EARLY_STOPPED", None, "SIGINT"), "stopped", "assessor"),
        (Evidence("SUCCEEDED", 0), "no_result", "report_final"),
        (Evidence("SUCCEEDED", 0, refused="not_a_number", message="m"), "not_a_number", "m"),
        (Evidence("FAILED", 1, refused="not_a_number", message="m"), "not_a_number", "m"),
        (Evidence("FAILED", 1, refused="invalid_result", message="m"), "invalid_result", "m"),
        (
            Evidence("SUCCEEDED", 0, metrics={"default": 1.0}, architecture={"a": "y"}),
            "wrong_architecture",
            "another",
        ),
    ],
    ids=str,
)
def test_each_end_has_its_outcome(evidence, outcome, said):
    verdict = judge(evidence, PROPOSED)
    assert verdict.outcome == outcome
    assert said in verdict.message


def test_the_signal_behind_a_shell_is_named():
    verdict = judge(Evidence("FAILED", 137), PROPOSED)
    assert (verdict.exit_code, verdict.signal) == (137, "SIGKILL")


def test_only_what_may_go_better_is_tried_again():
    assert {"failed", "killed"} == RETRIED
