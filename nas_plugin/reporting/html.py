"""One HTML file that tells what a search did, to be opened anywhere."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nas_plugin.directions import direction
from nas_plugin.errors import FileError
from nas_plugin.files import read_json, write_atomic
from nas_plugin.files.shape import check_json
from nas_plugin.reporting._html_style import STYLE
from nas_plugin.reporting.architecture_svg import draw_architecture
from nas_plugin.reporting.jsonl import plain, read_jsonl
from nas_plugin.reporting.plots import Record, Series, metric_series, plot_choices, plot_curves
from nas_plugin.reporting.tensorboard import entropy

_EPOCH_FILE = re.compile(r"epoch_([0-9]{1,9})\.json")
# The page may load nothing and run nothing, whatever text it shows.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_report(
    folder: str | Path, out_path: str | Path, *, settings: Mapping[str, Any] | None = None
) -> Path:
    """Writes the report of a search folder: one file, no scripts, nothing from elsewhere.

    Args:
        folder: Holds ``search.jsonl`` and ``checkpoints/epoch_<N>.json``.
        out_path: The HTML file.
        settings: What the search was started with; None reads ``settings.json`` in the folder, if
            there is one.

    Raises:
        FileError: If the log is missing or a file is damaged.
        OptionError: If matplotlib is not installed.
    """
    folder, out_path = Path(folder), Path(out_path)
    records = read_jsonl(folder / "search.jsonl")
    for number, record in enumerate(records, start=1):
        _check(record, f"{folder / 'search.jsonl'}, record {number}")
    if not records:
        raise FileError(
            f"{folder / 'search.jsonl'} has no records yet: there is nothing to report."
        )
    if settings is None and (folder / "settings.json").exists():
        settings = _object(folder / "settings.json")
    title = f"Search {folder.resolve().name}"
    parts = [
        _overview(records),
        _section("Architecture", _architecture(folder, records)),
        _section("Metrics", _metrics(records)),
        _section("Curves", _plot(plot_curves, records, bool(metric_series(records)))),
        _section("Choices", _choices(records)),
        _section("Settings", _settings(settings)),
    ]
    write_atomic(out_path, _page(title, parts))
    return out_path


def _check(record: Record, where: str) -> None:
    """Raises FileError unless what the report reads of a record is of the right type."""
    for name in ("step", "epoch", "time"):
        value = record.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
            raise FileError(f"{where}: '{name}' is {str(value)[:40]}, expected a number.")
    probabilities = record.get("probabilities", {})
    if record.get("phase") == "choices":
        lacking = {"step", "epoch", "probabilities"} - set(record)
        if lacking:
            raise FileError(f"{where} is of phase 'choices' and lacks {sorted(lacking)}.")
    if not isinstance(probabilities, dict) or not all(
        isinstance(row, dict)
        and all(isinstance(p, (int, float)) and 0 <= p <= 1 for p in row.values())
        for row in probabilities.values()
    ):
        raise FileError(
            f"{where}: 'probabilities' must map each key to candidates and their probabilities."
        )


def latest_architecture(folder: str | Path) -> Path | None:
    """Returns the file of the last epoch in ``<folder>/checkpoints``, None where there is none."""
    matches = {
        path: _EPOCH_FILE.fullmatch(path.name)
        for path in (Path(folder) / "checkpoints").glob("epoch_*.json")
    }
    found = {path: int(match[1]) for path, match in matches.items() if match}
    return max(found, key=lambda path: found[path]) if found else None


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{_text(title)}</h1>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def _overview(records: Sequence[Record]) -> str:
    epochs = {record["epoch"] for record in records if "epoch" in record}
    tiles = [
        ("epochs", str(len(epochs))),
        ("steps", f"{max((int(r['step']) for r in records if 'step' in r), default=0):,}"),
        ("time", _duration(max((float(r["time"]) for r in records if "time" in r), default=0.0))),
    ]
    for metric, series in metric_series(records).items():
        if "valid" in series:
            best = _best(metric, series["valid"])
            tiles.append((f"best valid {metric}", _figure(best[1])))
    cards = "".join(
        f"<div class=tile><b>{_text(value)}</b><span>{_text(name)}</span></div>"
        for name, value in tiles
    )
    return f"<div class=tiles>{cards}</div>"


def _metrics(records: Sequence[Record]) -> str:
    rows = []
    epochs = {float(r["step"]): r["epoch"] for r in records if "step" in r and "epoch" in r}
    for metric, series in metric_series(records).items():
        for name, points in series.items():
            if name != "step":
                step, value = _best(metric, points)
                wanted = "lowest" if _is_lower_better(metric) else "highest"
                last = _figure(points[-1][1])
                best = f"{_figure(value)} ({wanted})"
                rows.append([metric, name, best, epochs.get(step, ""), last])
    if not rows:
        return "<p>No epoch has ended yet.</p>"
    return _table(["metric", "on", "best", "in epoch", "last"], rows, numeric=(2, 3, 4))


def _architecture(folder: Path, records: Sequence[Record]) -> str:
    path = latest_architecture(folder)
    if path is None:
        return "<p>No architecture was written yet.</p>"
    architecture = _object(path)
    match = _EPOCH_FILE.fullmatch(path.name)
    epoch = int(match[1]) if match else -1
    weights = None
    for record in records:
        if record.get("phase") == "choices" and record.get("epoch") == epoch:
            weights = record["probabilities"]
    source = json.dumps(architecture, indent=2, ensure_ascii=False)
    note = "Thickness and number: the probability of the candidate." if weights else ""
    return (
        f"<p>Found after epoch {epoch}. {note}</p><div class=drawing>"
        f"{draw_architecture(architecture, weights=weights)}</div>"
        f"<details><summary>{_text(path.name)}</summary><pre>{_text(source)}</pre></details>"
    )


def _choices(records: Sequence[Record]) -> str:
    last = [r["probabilities"] for r in records if r.get("phase") == "choices"][-1:]
    if not last or not last[0]:
        return "<p>No probabilities were recorded.</p>"
    rows = []
    for key, probabilities in last[0].items():
        ranked = sorted(probabilities.items(), key=lambda entry: -entry[1])[:2]
        names = [f"{name} ({p:.3f})" for name, p in ranked] + ["", ""]
        rows.append([key, names[0], names[1], f"{entropy(probabilities):.3f}"])
    table = _table(["key", "first", "second", "entropy (nats)"], rows, numeric=(3,))
    plot = _plot(plot_choices, records, True)
    return f"{plot}<details><summary>Last probabilities</summary>{table}</details>"


def _settings(settings: Mapping[str, Any] | None) -> str:
    if not settings:
        return "<p>No settings were recorded (settings.json).</p>"
    return _table(["setting", "value"], _flat(plain(settings, "settings")))


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            rows += _flat(entry, f"{prefix}{name}.")
        else:
            shown = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
            rows.append([f"{prefix}{name}", shown])
    return rows


def _plot(plot: Callable[[Any, Path], Path], records: Sequence[Record], any_data: bool) -> str:
    """Returns a plot as SVG that can stand inside the page."""
    if not any_data:
        return "<p>Nothing was recorded.</p>"
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # A name in a log may hold a character that no font has; its box is what can be shown.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        svg = plot(records, Path(folder) / "plot.svg").read_text(encoding="utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return f"<div class=plot>{svg}</div>"


def _object(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = check_json(read_json(path), {}, str(path), extra=True)
    return found


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Sequence[int] = ()) -> str:
    def row(cells: Sequence[Any], tag: str) -> str:
        marks = [" class=n" if i in numeric else "" for i in range(len(cells))]
        inner = (f"<{tag}{m}>{_text(str(c))}</{tag}>" for m, c in zip(marks, cells, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<div class=wide><table>{row(head, 'th')}{body}</table></div>"


def _text(text: str) -> str:
    """Returns text as HTML; what no file can hold as UTF-8 becomes a question mark."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)


def _is_lower_better(metric: str) -> bool:
    return direction(metric) == "min"


def _best(metric: str, points: Series) -> tuple[float, float]:
    pick = min if _is_lower_better(metric) else max
    return pick(points, key=lambda point: point[1])


def _figure(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
