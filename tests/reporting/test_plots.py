from __future__ import annotations

import math
import sys

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.reporting import plot_choices, plot_curves, plot_front, plot_regret
from nas_plugin.reporting.plots import choice_series, metric_series

RECORDS = [
    {"phase": "train", "step": 1, "epoch": 0, "time": 0.1, "loss": 2.0},
    {"phase": "train", "step": 2, "epoch": 0, "time": 0.2, "loss": math.inf},
    {"phase": "epoch", "step": 2, "epoch": 0, "time": 0.3, "loss": 1.5, "valid_loss": 1.75},
    {"phase": "valid", "step": 3, "epoch": 1, "time": 0.4, "loss": 1.25, "ok": True},
    {"phase": "choices", "step": 2, "epoch": 0, "probabilities": {"k": {"$a$": 0.75, "_b": 0.25}}},
]
CURVE = ([1.0, 10.0], [0.5, 0.1], [0.4, 0.05], [0.6, 0.2])


def test_metrics_become_series_of_steps_train_and_valid():
    assert metric_series(RECORDS) == {
        "loss": {"step": [(1, 2.0)], "train": [(2, 1.5)], "valid": [(2, 1.75), (3, 1.25)]}
    }


def test_choices_become_series_over_epochs():
    assert choice_series(RECORDS) == {"k": {"$a$": [(0, 0.75)], "_b": [(0, 0.25)]}}


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_pictures_are_written(tmp_path, ending):
    pytest.importorskip("matplotlib")
    drawn = [
        plot_curves(RECORDS, tmp_path / f"new/curves.{ending}"),
        plot_choices(RECORDS, tmp_path / f"choices.{ending}"),
        plot_regret({"$x": CURVE}, tmp_path / f"regret.{ending}", title="a $ b", log_x=False),
        plot_front([(1, 2), (3, 1), (9, 4)], tmp_path / f"f.{ending}", xlabel="x", ylabel="$y"),
    ]
    start = b"\x89PNG" if ending == "png" else b"<?xml"
    assert all(path.read_bytes().startswith(start) for path in drawn)


def test_equal_records_give_equal_files(tmp_path):
    pytest.importorskip("matplotlib")
    a, b = (plot_curves(RECORDS, tmp_path / f"{name}.svg").read_bytes() for name in "ab")
    assert a == b


def test_a_picture_says_how_many_choices_it_left_out(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    many = [{**RECORDS[-1], "probabilities": {f"k{i}": {"a": 1.0} for i in range(5)}}]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        path = plot_choices(many, tmp_path / "few.svg", max_keys=2)
    text = path.read_text(encoding="utf-8")
    assert "<!-- 2 of 5 choices -->" in text and "<!-- k1 -->" in text and "k2" not in text


def test_the_settings_of_matplotlib_stay_as_they_were(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    plot_curves(RECORDS, tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match=r"pip install 'nas-plugin\[plots\]'"):
        plot_curves(RECORDS, tmp_path / "curves.png")


def test_what_cannot_be_drawn_is_refused(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "x.png"
    with pytest.raises(OptionError, match="no record holds a metric"):
        plot_curves([], path)
    with pytest.raises(OptionError, match="nothing to draw"):
        plot_choices(RECORDS[:2], path)
    with pytest.raises(OptionError, match="at least one curve"):
        plot_regret({}, path)
    with pytest.raises(OptionError, match=r"curve 'a'.*\[2, 2, 2, 1\]"):
        plot_regret({"a": (*CURVE[:3], [1.0])}, path)
    with pytest.raises(OptionError, match="its ending must be one of"):
        plot_curves(RECORDS, tmp_path / "x.doc")
