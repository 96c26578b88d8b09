"""Draws an architecture: its cells as graphs, everything else as a table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas_plugin.errors import ArchitectureError
from nas_plugin.reporting._svg import (
    GREY,
    INK,
    Picture,
    clean,
    colour_of,
    document,
    num,
    shortened,
    text_width,
)
from nas_plugin.reporting.cell_svg import CellDrawing, Edge

Weights = Mapping[str, Mapping[str, float]]

MAX_INPUTS, MAX_NODES = 8, 32
_CELL_KEY = re.compile(r"(.*)_n([0-9]{1,3})_(?:p([0-9]{1,3})|switch)", re.DOTALL)
_ROW, _ROWS, _TEXT, _MARGIN = 26.0, 24, 12.5, 14.0


def cell_prefixes(keys: Mapping[str, Any]) -> list[str]:
    """Returns the cells whose edges are among the keys, in the order of their names."""
    matches = (_CELL_KEY.fullmatch(key) for key in keys)
    return sorted({match[1] for match in matches if match and match[3] is not None})


def cell_from_architecture(
    architecture: Mapping[str, Any],
    prefix: str,
    *,
    weights: Weights | None = None,
    output: str = "concat",
) -> CellDrawing:
    """Returns the drawing of a cell whose keys are those of `nas_plugin.choice.Cell`.

    Args:
        architecture: ``{prefix}_n{node}_p{source}`` → candidate, and ``{prefix}_n{node}_switch`` →
            the keys of the kept edges; a node without a switch keeps all its edges.
        prefix: The cell's key.
        weights: Probabilities of the candidates, where a search still runs.
        output: ``concat``: the output joins all intermediate nodes; ``last``: it is the last.

    Raises:
        ArchitectureError: If there is no such cell, or its keys contradict each other.
    """
    edges = {}
    for (node, source), key in _edge_keys(architecture, prefix).items():
        switch = f"{prefix}_n{node}_switch"
        if switch in architecture and key not in _listed(architecture[switch]):
            continue
        candidate = chosen_text(architecture[key])
        if candidate:
            edges[node, source] = (candidate, _weight(weights, key, candidate))
    for key, value in architecture.items():
        match = _CELL_KEY.fullmatch(key)
        if match and match[1] == prefix and match[3] is None:
            unknown = [edge for edge in _listed(value) if edge not in architecture]
            if unknown:
                raise ArchitectureError(
                    f"'{key}' keeps {unknown}, which the architecture does not decide. A switch "
                    f"lists keys of the form '{prefix}_n{match[2]}_p<source>'."
                )
    nodes = {node for node, _ in _edge_keys(architecture, prefix)}
    return _drawing(edges, nodes, prefix, output)


def cell_from_probabilities(
    probabilities: Weights, prefix: str, *, output: str = "concat"
) -> CellDrawing:
    """Returns the drawing of a whole cell while it is searched: every edge with its favourite.

    Args:
        probabilities: ``{prefix}_n{node}_p{source}`` → candidate → probability.
        prefix: The cell's key.
        output: As in `cell_from_architecture`.

    Raises:
        ArchitectureError: If there is no such cell, or its keys contradict each other.
    """
    keys = _edge_keys(probabilities, prefix)
    edges = {}
    for place, key in keys.items():
        if probabilities[key]:
            favourite = max(probabilities[key], key=lambda name: probabilities[key][name])
            edges[place] = (str(favourite), _weight(probabilities, key, favourite))
    return _drawing(edges, {node for node, _ in keys}, prefix, output)


def draw_architecture(
    architecture: Mapping[str, Any], title: str | None = None, weights: Weights | None = None
) -> str:
    """Returns one SVG file with every cell of an architecture, and a table of its other choices.

    Args:
        architecture: Keys → choices, as in an architecture file.
        title: Set above it.
        weights: Key → candidate → probability, where a search still runs.
    """
    pictures, drawn = [], set()
    for prefix in cell_prefixes(architecture):
        try:
            cell = cell_from_architecture(architecture, prefix, weights=weights)
        except ArchitectureError:
            continue  # Not keys of a cell after all: they stay in the table.
        pictures.append(cell.picture(prefix or "cell"))
        matches = {key: _CELL_KEY.fullmatch(key) for key in architecture}
        drawn |= {key for key, match in matches.items() if match and match[1] == prefix}
    rest = {key: value for key, value in architecture.items() if key not in drawn}
    if rest or not pictures:
        pictures.append(_table(rest, weights or {}))
    return document(stacked(pictures, title), title or "architecture")


def chosen_text(value: Any) -> str:
    """Returns what was chosen in words; nothing is an empty string."""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(entry) for entry in value)
    return str(value)


def _weight(weights: Weights | None, key: str, candidate: str) -> float | None:
    """Returns a probability, rounding errors cut off; None where there is none."""
    known = {} if weights is None else {str(k): p for k, p in weights.get(key, {}).items()}
    p = known.get(str(candidate), math.nan)
    return None if math.isnan(p) else min(1.0, max(0.0, p))


def _edge_keys(keys: Mapping[str, Any], prefix: str) -> dict[tuple[int, int], str]:
    """Returns ``(node, source)`` → key of a cell's edges."""
    found = {}
    for key in keys:
        match = _CELL_KEY.fullmatch(key)
        if match and match[1] == prefix and match[3] is not None:
            found[int(match[2]), int(match[3])] = key
    if not found:
        raise ArchitectureError(
            f"The architecture has no cell '{prefix}': no key is '{prefix}_n<node>_p<source>'. "
            f"Its cells: {cell_prefixes(keys) or 'none'}."
        )
    backward = [key for (node, source), key in found.items() if source >= node]
    if backward:
        raise ArchitectureError(
            f"Cell '{prefix}': {backward} lead backward; a node reads nodes of lower number only."
        )
    return found


def _listed(value: Any) -> list[str]:
    """Returns the entries of a switch."""
    return [str(entry) for entry in value] if isinstance(value, (list, tuple)) else [str(value)]


def _drawing(
    edges: Mapping[tuple[int, int], tuple[str, float | None]],
    nodes: set[int],
    prefix: str,
    output: str,
) -> CellDrawing:
    if output not in ("concat", "last"):
        raise ArchitectureError(f"output is concat or last, got {output!r}.")
    inputs, last = min(nodes), max(nodes)
    if not 1 <= inputs <= MAX_INPUTS or len(nodes) > MAX_NODES:
        raise ArchitectureError(
            f"Cell '{prefix}' has {inputs} inputs and {len(nodes)} nodes; a drawing holds 1 to "
            f"{MAX_INPUTS} inputs and at most {MAX_NODES} nodes."
        )
    if nodes != set(range(inputs, last + 1)):
        missing = sorted(set(range(inputs, last + 1)) - nodes)
        raise ArchitectureError(f"Cell '{prefix}' has no edges into its nodes {missing}.")
    names = [f"c_{{k-{inputs - i}}}" for i in range(inputs)]
    names += [f"n{node}" for node in range(inputs, last + 1)]
    drawn = [
        Edge(names[source], names[node], candidate, weight)
        for (node, source), (candidate, weight) in sorted(edges.items())
    ]
    joined = range(inputs, last + 1) if output == "concat" else [last]
    drawn += [Edge(names[node], "c_k") for node in joined]
    return CellDrawing([*names, "c_k"], drawn)


def stacked(pictures: Sequence[Picture], title: str | None) -> Picture:
    y, body = 0.0, []
    if title:
        body.append(
            f'<text x="{num(_MARGIN)}" y="29" font-size="18" font-weight="700" fill="{GREY}">'
            f"{clean(shortened(title, 80))}</text>"
        )
        y = 36.0
    for picture in pictures:
        body.append(f'<g transform="translate(0 {num(y)})">\n{picture.body}\n</g>')
        y += picture.height
    width = max(picture.width for picture in pictures)
    if title:
        width = max(width, text_width(shortened(title, 80), 18) * 1.05 + 2 * _MARGIN)
    return Picture(width, y, "\n".join(body))


def _table(choices: Mapping[str, Any], weights: Weights) -> Picture:
    """Returns a picture of keys and choices on light cards, in columns of `_ROWS` rows."""
    if not choices:
        text = f'<text x="14" y="30" font-size="14" fill="{GREY}">No choices.</text>'
        return Picture(120.0, 44.0, text)
    rows = [_row(key, value, weights) for key, value in sorted(choices.items(), key=_natural)]
    body, x, height = [], _MARGIN, 0.0
    # At most four columns; what is longer grows downward.
    per_column = max(_ROWS, -(-len(rows) // 4))
    for start in range(0, len(rows), per_column):
        part = rows[start : start + per_column]
        key_width = max(text_width(key, _TEXT) for key, _, _ in part)
        width = key_width + max(text_width(value, _TEXT) for _, value, _ in part) + 64
        card = len(part) * _ROW + 12
        body.append(
            f'<rect x="{num(x)}" y="{num(_MARGIN)}" width="{num(width)}" height="{num(card)}" '
            'rx="10" fill="#ffffff" stroke="#c3cad3" stroke-width="1.2"/>'
        )
        for i, (key, value, colour) in enumerate(part):
            y = _MARGIN + 6 + i * _ROW
            body.append(_row_svg(x, y, width, key_width, key, value, colour, ruled=i > 0))
        x += width + _MARGIN
        height = max(height, card)
    return Picture(x, height + 2 * _MARGIN, "\n".join(body))


def _natural(entry: tuple[str, Any]) -> list[tuple[int, str]]:
    """Sorts ``blocks/2`` before ``blocks/10``."""
    parts = re.split(r"([0-9]+)", entry[0])
    return [(len(part) if i % 2 else 0, part) for i, part in enumerate(parts)]


def _row(key: str, value: Any, weights: Weights) -> tuple[str, str, str]:
    text = chosen_text(value)
    shown = shortened(text, 48) or "nothing"
    weight = _weight(weights, key, text)
    if weight is not None:
        shown = f"{shown}  {weight:.2f}"
    return shortened(key, 48), shown, colour_of(text)


def _row_svg(
    x: float, y: float, width: float, key_width: float,
    key: str, value: str, colour: str, *, ruled: bool,
) -> str:  # fmt: skip
    base = num(y + _ROW / 2 + 4.4)
    line = ""
    if ruled:
        line = (
            f'<line x1="{num(x + 12)}" x2="{num(x + width - 12)}" y1="{num(y)}" y2="{num(y)}" '
            'stroke="#e6eaef"/>'
        )
    return (
        f'{line}<text x="{num(x + 14)}" y="{base}" font-size="{_TEXT}" fill="#5b6673">'
        f'{clean(key)}</text><circle cx="{num(x + key_width + 32)}" cy="{num(y + _ROW / 2)}" '
        f'r="4.5" fill="{colour}"/><text x="{num(x + key_width + 44)}" y="{base}" '
        f'font-size="{_TEXT}" font-weight="600" fill="{INK}">{clean(value)}</text>'
    )
