from __future__ import annotations

import math

import pytest

from nas_plugin.reporting import TensorBoardLog
from nas_plugin.reporting.tensorboard import entropy, scalars

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

CHOICES = {
    "phase": "choices",
    "epoch": 0,
    "step": 10,
    "probabilities": {"normal_n2_p0": {"conv": 0.75, "skip": 0.25}, "cells/0": {"a/b": 1.0}},
}


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_metrics_probabilities_and_entropies(tmp_path):
    with TensorBoardLog(tmp_path) as log:
        log.write({"phase": "train", "step": 5, "epoch": 0, "time": 1.0, "loss": 0.5, "note": "x"})
        log.write(CHOICES)
    found = read(tmp_path)
    assert found["train/loss"] == [(5, 0.5)]
    assert found["choices/normal_n2_p0/conv"] == [(10, 0.75)]
    assert found["entropy/normal_n2_p0"][0][1] == pytest.approx(0.5623351)  # nats, by hand
    assert not any("time" in tag or "note" in tag for tag in found)


def test_what_a_killed_run_wrote_after_its_checkpoint_is_hidden_on_resume(tmp_path):
    def write(log, steps, loss):
        for step in steps:
            log.write({"phase": "train", "step": step, "loss": loss})
        log.close()

    write(TensorBoardLog(tmp_path), (1, 2, 3, 4), 1.0)
    write(TensorBoardLog(tmp_path, purge_step=3), (3, 4, 5), 2.0)
    assert read(tmp_path)["train/loss"] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]


def test_tags_are_clean_and_different_names_stay_apart():
    names = ["a b", "a_b", "a/b", "a\nb", "/a_b", "ä_b", ""]
    record = {**CHOICES, "probabilities": {name: dict.fromkeys(names, 0.1) for name in names}}
    tags = scalars(record)
    assert len(tags) == len(names) ** 2 + len(names)
    assert all(tag.isascii() and tag.isprintable() and " " not in tag for tag in tags)
    assert {"choices/a_b/a_b", "choices/a/b/a_b"} <= set(tags)


def test_entropy_is_zero_when_decided_and_log_k_when_open():
    assert entropy({"a": 1.0, "b": 0.0}) == 0
    assert entropy(dict.fromkeys("abcd", 0.25)) == pytest.approx(math.log(4))
    assert entropy(dict.fromkeys("abcd", 0.9)) == pytest.approx(math.log(4))
    assert math.isnan(entropy({})) and math.isnan(entropy({"a": math.nan}))
