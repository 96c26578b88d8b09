"""A run says how it stands without being asked."""

from __future__ import annotations

import io
import sys

import torch
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.trainers import ProgressCallback, RetrainTrainer, accuracy


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trainer(**options) -> RetrainTrainer:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    data = ArrayDataset(torch.randn(32, 4), torch.arange(32) % 2)
    return RetrainTrainer(
        model, nn.functional.cross_entropy, accuracy, torch.optim.SGD(model.parameters(), 0.1), 3,
        data, data, batch_size=8, device="cpu", **options,
    )  # fmt: skip


def test_every_epoch_is_a_line_without_a_terminal(capfd):
    trainer().train()

    out, err = capfd.readouterr()
    assert out == ""
    inputs, *lines = err.splitlines()
    assert inputs == "RetrainTrainer: training inputs as they are; held-out inputs as they are"
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"RetrainTrainer: epoch {number}/3  loss 0.")
        assert "valid_accuracy 0." in line


def test_log_frequency_gives_lines_without_a_terminal(capfd):
    trainer(log_frequency=2).train()

    lines = capfd.readouterr().err.splitlines()
    steps = [line.split("step ")[1].split()[0] for line in lines if "step " in line]
    assert steps == ["2", "4", "6", "8", "10", "12"]
    assert len(lines) == 1 + 6 + 3


def test_a_terminal_shows_a_bar_with_the_figures_of_the_last_record(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    trainer(log_frequency=1).train()

    shown = terminal.getvalue()
    assert "12/12" in shown
    assert shown.count("valid_loss") == 3
    assert "loss=0." in shown
    assert "step 1 " not in shown


def test_progress_is_silent_on_request_and_never_shown_twice(capfd):
    trainer(progress=False).train()
    assert capfd.readouterr() == ("", "")

    trainer(callbacks=[ProgressCallback("mine")]).train()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 4 and all(line.startswith("mine: ") for line in lines)


def test_the_checkpoint_of_a_silent_run_resumes_with_progress(tmp_path, capfd):
    trainer(progress=False, checkpoint_dir=tmp_path, limit_batches=4).train()
    resumed = trainer(checkpoint_dir=tmp_path, resume=True)
    resumed.train()

    assert resumed.epoch == 3
    assert "valid_loss" not in capfd.readouterr().err
