from __future__ import annotations

import io
import sys

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_notes_are_printed_if_stderr_is_no_terminal(capfd):
    with Progress(3, "search") as progress:
        for _ in range(3):
            progress.update(loss=0.5)
        progress.note("epoch 0: loss 0.5")
    assert capfd.readouterr() == ("", "search: epoch 0: loss 0.5\n")


def test_a_terminal_shows_the_bar_its_values_and_notes(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, "search", initial=2) as progress:
        assert progress.enabled
        progress.update(2, loss="0.25")
        progress.note("epoch 0 done")
    shown = terminal.getvalue()
    assert "search" in shown and "4/4" in shown and "epoch 0 done" in shown


def test_the_bar_is_closed_when_training_fails(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(4, "search", enabled=True)
    with pytest.raises(KeyboardInterrupt), progress:
        progress.update()
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\n")
    progress.close()
    progress.update()


def test_negative_counts_are_refused():
    with pytest.raises(OptionError, match="-1"):
        Progress(-1, "search")
