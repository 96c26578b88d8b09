from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from nas_plugin.errors import FileError
from nas_plugin.reporting import JsonlLog, write_report
from nas_plugin.reporting.html import latest_architecture

pytest.importorskip("matplotlib")

EVIL = "</script></style></svg><script>alert(1)</script><img src=http://example.com/x.png>"


class Page(HTMLParser):
    """Collects tags, addresses and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        names = ("src", "href", "xlink:href", "srcset", "data", "action")
        self.addresses += [value for name, value in attrs if name in names]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data + "\n"


@pytest.fixture
def folder(tmp_path):
    cell = {"c_n1_p0": "conv", "c_n2_p0": "skip", "c_n2_p1": "conv", EVIL: EVIL}
    with JsonlLog(tmp_path / "search.jsonl") as log:
        for epoch, loss in enumerate((0.75, 0.25, 0.5)):
            place = {"epoch": epoch, "step": 10 * (epoch + 1), "time": 50.0 * (epoch + 1)}
            values = {"loss": loss, "valid_loss": loss + 1, "valid_accuracy": 1 - loss}
            log.write({**place, "phase": "epoch", **values})
            probabilities = {"c_n1_p0": {"conv": 0.625, "skip": 0.375}, EVIL: {EVIL: 1.0}}
            log.write({**place, "phase": "choices", "probabilities": probabilities})
    (tmp_path / "checkpoints").mkdir()
    for name in ("epoch_0", "epoch_2", "epoch_10x", "epoch_1"):
        (tmp_path / "checkpoints" / f"{name}.json").write_text(json.dumps(cell))
    return tmp_path


def test_the_report_stands_alone_and_shows_hostile_text_as_text(folder):
    (folder / "settings.json").write_text(json.dumps({"data": {"name": EVIL}, "unrolled": False}))
    source = write_report(folder, folder / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not page.tags & {"script", "img", "link", "iframe", "object", "image", "base"}
    assert all(address.startswith("#") for address in page.addresses)
    assert "url(http" not in source and "@import" not in source
    assert "default-src 'none'" in source
    assert EVIL in page.text and "data.name" in page.text and "unrolled" in page.text


def test_the_report_names_best_values_and_their_epochs(folder):
    text = Page(write_report(folder, folder / "r.html").read_text(encoding="utf-8")).text
    rows = " ".join(text.split())
    assert "loss train 0.25 (lowest) 1 0.5" in rows
    assert "loss valid 1.25 (lowest) 1 1.5" in rows
    assert "accuracy valid 0.75 (highest) 1 0.5" in rows
    assert "2 min 30 s time" in rows and "3 epochs" in rows and "30 steps" in rows


def test_the_last_architecture_is_drawn_with_its_probabilities(folder):
    assert latest_architecture(folder) == folder / "checkpoints" / "epoch_2.json"
    text = Page(write_report(folder, folder / "r.html").read_text(encoding="utf-8")).text
    assert "Found after epoch 2." in text and "conv  0.62" in text
    assert "conv (0.625)" in text and "0.662" in text  # entropy of 5/8, by hand


def test_a_search_that_just_began_has_a_report(tmp_path):
    with JsonlLog(tmp_path / "search.jsonl") as log:
        log.write({"phase": "train", "step": 1, "epoch": 0, "loss": 1.0})
    settings = {"epochs": 50}
    path = write_report(tmp_path, tmp_path / "r.html", settings=settings)
    text = Page(path.read_text(encoding="utf-8")).text
    assert "No architecture was written yet." in text and "50" in text


def test_a_missing_or_empty_log_and_a_damaged_architecture_are_named(folder, tmp_path):
    with pytest.raises(FileError, match=r"search\.jsonl"):
        write_report(tmp_path / "none", tmp_path / "r.html")
    (folder / "checkpoints" / "epoch_2.json").write_text("[1]")
    with pytest.raises(FileError, match=r"epoch_2\.json"):
        write_report(folder, tmp_path / "r.html")
    (folder / "search.jsonl").write_text("")
    with pytest.raises(FileError, match="no records yet"):
        write_report(folder, tmp_path / "r.html")


@pytest.mark.parametrize("name", ["\U0001f4a9", "\ud800"])
def test_a_name_that_no_font_can_draw_is_a_box_and_no_warning(tmp_path, name):
    with JsonlLog(tmp_path / "search.jsonl") as log:
        place = {"epoch": 0, "step": 1, "time": 1.0}
        log.write({**place, "phase": name, f"loss{name}": 1.0})
        log.write({**place, "phase": "choices", "probabilities": {name: {"a": 1.0}}})

    write_report(tmp_path, tmp_path / "report.html")  # warnings are errors here
