"""Plots of a search: learning curves, probabilities of choices, regret over cost, fronts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas_plugin.errors import OptionError
from nas_plugin.reporting.jsonl import POSITION
from nas_plugin.strategies.front import fronts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas_plugin.evaluation.compare_report import RegretCurve

Record = Mapping[str, Any]
Records = Iterable[Record]
Dash = Literal["-", "--", ":", "-."]
Series = list[tuple[float, float]]

MAX_KEYS = 60
_COLOURS = (
    "#2f6fd0", "#d2562f", "#1f9d63", "#a05be0", "#cf8a17", "#1597a5", "#d0478f", "#7b8794",
    "#5d6b1c", "#6a6ff0",
)  # fmt: skip
#: The most curves that are drawn with their bands.
_MAX_BANDS = 6
_DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")
_SERIES = {"step": "#b9cdee", "train": "#2f6fd0", "valid": "#d2562f"}
_STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#3b4652",
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ed",
    "grid.linewidth": 0.7,
    "xtick.color": "#5b6673",
    "ytick.color": "#5b6673",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "nas_plugin",
}


def plot_curves(records: Records, path: str | Path) -> Path:
    """Draws every metric over the steps: training, its epoch means, and the held-out set.

    Args:
        records: Records of a ``search.jsonl``; ``valid_loss`` is drawn beside ``loss``.
        path: Where to; the ending says the format (png, svg, pdf).

    Raises:
        OptionError: If there is nothing to draw, or matplotlib is not installed.
    """
    metrics = metric_series(records)
    if not metrics:
        raise OptionError(
            "plot_curves: no record holds a metric, such as {'step': 1, 'loss': 0.5}."
        )
    with _style():
        columns = min(len(metrics), 3)
        rows = math.ceil(len(metrics) / columns)
        figure = _figure(4.4 * columns, 3.0 * rows)
        for i, (metric, series) in enumerate(metrics.items()):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.set_title(_literal(metric), loc="left", fontweight="bold")
            axes.set_xlabel("step")
            for j, (name, points) in enumerate(sorted(series.items(), key=_draw_order)):
                colour = _SERIES.get(name, _COLOURS[(j + 2) % len(_COLOURS)])
                xs, ys = zip(*points, strict=True)
                marker = "o" if name != "step" and len(xs) < 40 else ""
                axes.plot(
                    xs, ys, color=colour, label=_literal(name), marker=marker, markersize=3,
                    linewidth=1.0 if name == "step" else 1.8,
                )  # fmt: skip
            axes.legend()
        return _save(figure, path)


def plot_choices(records: Records, path: str | Path, *, max_keys: int = MAX_KEYS) -> Path:
    """Draws the probabilities of every choice over the epochs, one panel a key.

    Args:
        records: Records of a ``search.jsonl``; those of phase ``choices`` are drawn.
        path: Where to; the ending says the format (png, svg, pdf).
        max_keys: Most panels; where there are more keys the picture says how many it left out.

    Raises:
        OptionError: If there is nothing to draw, or matplotlib is not installed.
    """
    keys = choice_series(records)
    if not keys or max_keys < 1:
        raise OptionError(
            f"plot_choices: nothing to draw (max_keys={max_keys}, {len(keys)} keys in records of "
            "phase 'choices')."
        )
    shown = dict(list(keys.items())[:max_keys])
    names = list(dict.fromkeys(name for series in shown.values() for name in series))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    dashes = {name: _DASHES[i // len(_COLOURS) % 4] for i, name in enumerate(names)}
    with _style():
        from matplotlib.ticker import MaxNLocator

        columns = min(len(shown), 4)
        rows = math.ceil(len(shown) / columns)
        figure = _figure(max(2.9 * columns, 4.4), 1.75 * rows + 0.9)
        for i, (key, series) in enumerate(shown.items()):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.set_title(_literal(key), loc="left", fontsize=9)
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 0.5, 1])
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            for name, points in series.items():
                xs, ys = zip(*points, strict=True)
                marker = "o" if len(xs) == 1 else ""
                axes.plot(xs, ys, color=colours[name], linestyle=dashes[name], marker=marker)
            if i >= len(shown) - columns:
                axes.set_xlabel("epoch")
        _legend(figure, colours, dashes)
        if len(shown) < len(keys):
            figure.suptitle(f"{len(shown)} of {len(keys)} choices", x=0.01, ha="left")
        return _save(figure, path)


def plot_regret(
    curves: Mapping[str, RegretCurve],
    path: str | Path,
    *,
    xlabel: str = "seconds",
    ylabel: str = "regret",
    title: str | None = None,
    log_x: bool = True,
    log_y: bool = True,
) -> Path:
    """Draws what each strategy reached over its cost, with a band where there are few of them.

    Args:
        curves: Name → ``(times, mean, low, high)``, of equal length.
        path: Where to; the ending says the format (png, svg, pdf).
        xlabel: Says what the cost is.
        ylabel: Says what was reached.
        title: Set above.
        log_x: Logarithmic cost.
        log_y: Logarithmic regret.

    Raises:
        OptionError: If lengths differ, there is nothing to draw, or matplotlib is not installed.
    """
    if not curves:
        raise OptionError("plot_regret needs at least one curve: {name: (times, mean, low, high)}.")
    for name, curve in curves.items():
        lengths = [len(part) for part in curve]
        if len(lengths) != 4 or len(set(lengths)) != 1 or not lengths[0]:
            raise OptionError(
                f"plot_regret: curve '{name}' needs times, mean, low and high of one length, "
                f"got lengths {lengths}."
            )
    # Many bands would hide one another, and a long legend the curves.
    crowded = len(curves) > _MAX_BANDS
    with _style():
        figure = _figure(9.0 if crowded else 6.4, 4.2)
        axes = figure.add_subplot(1, 1, 1)
        for i, (name, (times, mean, low, high)) in enumerate(curves.items()):
            colour = _COLOURS[i % len(_COLOURS)]
            dash = _DASHES[i // len(_COLOURS) % 4]
            if not crowded:
                axes.fill_between(times, low, high, step="post", color=colour, alpha=0.16, lw=0)
            axes.step(times, mean, where="post", color=colour, linestyle=dash, label=_literal(name))
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        axes.set_xlabel(_literal(xlabel))
        axes.set_ylabel(_literal(ylabel))
        if title:
            axes.set_title(_literal(title), loc="left", fontweight="bold")
        if crowded:
            figure.legend(loc="outside right upper")
        else:
            axes.legend()
        return _save(figure, path)


def plot_front(
    points: Sequence[tuple[float, float]],
    path: str | Path,
    *,
    xlabel: str,
    ylabel: str,
    log_x: bool = True,
) -> Path:
    """Draws what was met and the front of it: little of x, much of y.

    Args:
        points: ``(x, y)`` of every architecture.
        path: Where to; the ending says the format (png, svg, pdf).
        xlabel: Says what is to be small, such as parameters.
        ylabel: Says what is to be large, such as accuracy.
        log_x: Logarithmic x.

    Raises:
        OptionError: If there is nothing to draw, or matplotlib is not installed.
    """
    if not points:
        raise OptionError("plot_front needs at least one point.")
    front = sorted(points[i] for i in fronts([(-x, y) for x, y in points])[0])
    with _style():
        figure = _figure(6.4, 4.2)
        axes = figure.add_subplot(1, 1, 1)
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, s=18, color=_COLOURS[0], alpha=0.4, linewidth=0)
        axes.step(*zip(*front, strict=True), where="post", color=_COLOURS[1], marker="o")
        axes.set_xscale("log" if log_x else "linear")
        axes.set_xlabel(_literal(xlabel))
        axes.set_ylabel(_literal(ylabel))
        return _save(figure, path)


def metric_series(records: Records) -> dict[str, dict[str, Series]]:
    """Returns metric → series → points ``(step, value)``.

    The series are ``step`` (records of phase ``train``), ``train`` (means of an epoch), ``valid``,
    and the name of any other phase. Values that are not finite are left out.
    """
    found: dict[str, dict[str, Series]] = {}
    for record in records:
        phase = str(record.get("phase", "train"))
        if phase == "choices" or "step" not in record:
            continue
        for name, value in record.items():
            if name in POSITION or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            series = {"train": "step", "epoch": "train"}.get(phase, phase)
            metric = name
            if phase == "epoch" and name.startswith("valid_"):
                series, metric = "valid", name.removeprefix("valid_")
            if math.isfinite(value):
                points = found.setdefault(metric, {}).setdefault(series, [])
                points.append((float(record["step"]), float(value)))
    return found


def choice_series(records: Records) -> dict[str, dict[str, Series]]:
    """Returns key → candidate → points ``(epoch, probability)``."""
    found: dict[str, dict[str, Series]] = {}
    for record in records:
        if record.get("phase") == "choices":
            for key, probabilities in record["probabilities"].items():
                for name, p in probabilities.items():
                    series = found.setdefault(str(key), {}).setdefault(str(name), [])
                    series.append((float(record["epoch"]), float(p)))
    return found


def _draw_order(entry: tuple[str, Series]) -> tuple[int, str]:
    known = list(_SERIES)
    return (known.index(entry[0]) if entry[0] in known else len(known), entry[0])


def _legend(figure: Figure, colours: Mapping[str, str], dashes: Mapping[str, Dash]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colours[name], linestyle=dashes[name], label=_literal(name))
        for name in colours
    ]
    longest = max(len(name) for name in colours)
    columns = max(1, int(figure.get_figwidth() / (0.075 * longest + 0.6)))
    rows = math.ceil(len(handles) / columns)
    figure.legend(handles=handles, loc="outside upper left", ncols=math.ceil(len(handles) / rows))


def _literal(text: str) -> str:
    """Returns text that matplotlib shows as it is: no formulas, no line breaks, no hidden label.

    What is no character, half of a surrogate pair, becomes a question mark.
    """
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    line = line if len(line) <= 40 else line[:39] + "…"
    line = line.replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def _style() -> Any:
    """Returns a context in which matplotlib draws in the style of the project.

    Raises:
        OptionError: If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise OptionError(
            "Plots need matplotlib, which is not installed: pip install 'nas-plugin[plots]'."
        ) from error
    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type,unused-ignore]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in formats:
        raise OptionError(
            f"Cannot draw to '{path}': its ending must be one of {', '.join(sorted(formats))}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=150, metadata=metadata)
    return path
