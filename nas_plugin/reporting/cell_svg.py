"""Draws a cell: nodes as boxes, edges as arrows that carry their candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas_plugin.errors import OptionError
from nas_plugin.reporting._layout import LayeredLayout, Slot, layered_layout
from nas_plugin.reporting._svg import (
    GREY,
    INK,
    Picture,
    clean,
    colour_of,
    document,
    label,
    label_text,
    num,
    shortened,
    text_width,
)

_MARGIN, _TITLE = 14.0, 30.0
_NODE_TEXT, _LABEL_TEXT = 14.0, 12.0
_LABEL_HEIGHT, _PORT, _ARROW = 22.0, 11.0, 8.0
# Fill and border of inputs, intermediate nodes and outputs.
_ROLES = {
    "input": ("#d7f5e3", "#2a9d63"),
    "node": ("#dbe9ff", "#4a86dd"),
    "output": ("#ffeecb", "#d1912a"),
}


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes.

    Args:
        source: Name of a node.
        target: Name of a node.
        label: The candidate on it; without one the arrow is thin and grey.
        weight: Its probability while a search runs, in [0, 1]: drawn as thickness and opacity,
            and written beside the label. None: decided.
    """

    source: str
    target: str
    label: str = ""
    weight: float | None = None


@dataclass(frozen=True)
class CellDrawing:
    """A directed acyclic graph to be drawn.

    Raises:
        OptionError: If names are not unique, an edge leads nowhere, edges form a cycle, or a
            weight does not lie in [0, 1].
    """

    nodes: Sequence[str]
    edges: Sequence[Edge]

    def __post_init__(self) -> None:
        names = set(self.nodes)
        if len(names) != len(self.nodes):
            raise OptionError(f"A drawing needs nodes of different names, got {list(self.nodes)}.")
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in names:
                    raise OptionError(
                        f"The edge '{edge.source}' -> '{edge.target}' needs a node '{end}'; "
                        f"the drawing has {list(self.nodes)}."
                    )
            if edge.weight is not None and not 0 <= edge.weight <= 1:
                raise OptionError(
                    f"The edge '{edge.source}' -> '{edge.target}' has the weight {edge.weight}; "
                    "give a probability, or None."
                )
        self.layout()

    def layout(self) -> LayeredLayout:
        """Returns where nodes, edges and labels lie.

        Raises:
            OptionError: If edges form a cycle.
        """
        index = {name: i for i, name in enumerate(self.nodes)}
        ends = [(index[edge.source], index[edge.target]) for edge in self.edges]
        sizes = []
        for i, name in enumerate(self.nodes):
            arrows = max(sum(s == i for s, _ in ends), sum(t == i for _, t in ends))
            width = max(46.0, text_width(label_text(shortened(name)), _NODE_TEXT) + 22)
            sizes.append((width, max(34.0, arrows * _PORT + 12)))
        labels = [
            (text_width(text, _LABEL_TEXT) + 18, _LABEL_HEIGHT) if text else (0.0, 0.0)
            for text in map(_pill_text, self.edges)
        ]
        try:
            return layered_layout(sizes, ends, labels)
        except ValueError as error:
            raise OptionError(f"A drawing of {list(self.nodes)}: {error}.") from error

    def picture(self, title: str | None = None) -> Picture:
        """Returns the drawing to be put into a larger one."""
        layout = self.layout()
        top = _MARGIN + (_TITLE if title else 0.0)
        lines, pills = [], []
        ports = _ports(layout)
        # The faint first: what matters lies on top.
        order = sorted(range(len(self.edges)), key=lambda i: self._strength(self.edges[i]))
        for i in order:
            lines.append(_arrow(self.edges[i], layout.chains[i], *ports[i]))
            if self.edges[i].label:
                pills.append(_pill(self.edges[i], layout.labels[i]))
        boxes = [self._box(i, slot) for i, slot in enumerate(layout.nodes)]
        body = "\n".join([*lines, *boxes, *pills])
        width = layout.width + 2 * _MARGIN
        heading = ""
        if title:
            heading = (
                f'<text x="{num(_MARGIN)}" y="{num(_MARGIN + 13)}" font-size="15" '
                f'font-weight="600" fill="{GREY}">{clean(shortened(title, 80))}</text>\n'
            )
            width = max(width, text_width(shortened(title, 80), 15) + 2 * _MARGIN)
        moved = f'<g transform="translate({num(_MARGIN)} {num(top)})">\n{body}\n</g>'
        return Picture(width, layout.height + top + _MARGIN, heading + moved)

    def to_svg(self, title: str | None = None) -> str:
        """Returns a whole SVG file with a transparent ground; no text can break out of it."""
        return document(self.picture(title), title or "cell")

    @staticmethod
    def _strength(edge: Edge) -> float:
        return -1.0 if not edge.label else 1.0 if edge.weight is None else edge.weight

    def _box(self, i: int, slot: Slot) -> str:
        role = "node" if slot.before and slot.after else "output" if slot.before else "input"
        fill, border = _ROLES[role]
        x, y = slot.x - slot.width / 2, slot.y - slot.height / 2
        name = self.nodes[i]
        return (
            f'<g><title>{clean(name)}</title><rect x="{num(x)}" y="{num(y)}" '
            f'width="{num(slot.width)}" height="{num(slot.height)}" rx="9" fill="{fill}" '
            f'stroke="{border}" stroke-width="1.6"/><text x="{num(slot.x)}" '
            f'y="{num(slot.y + 4.8)}" text-anchor="middle" font-size="{num(_NODE_TEXT)}" '
            f'font-weight="600" fill="{INK}">{label(shortened(name))}</text></g>'
        )


def _pill_text(edge: Edge) -> str:
    if not edge.label:
        return ""
    text = shortened(edge.label)
    return text if edge.weight is None else f"{text}  {edge.weight:.2f}"


def _ports(layout: LayeredLayout) -> list[tuple[float, float]]:
    """Returns where each edge leaves and enters, spread so that arrows do not cross at a box."""
    ends = [[0.0, 0.0] for _ in layout.chains]
    for node in layout.nodes:
        for side in (0, 1):
            here = [i for i, chain in enumerate(layout.chains) if chain[-side] is node]
            here.sort(key=lambda i: layout.chains[i][-2 if side else 1].y)
            for place, i in enumerate(here):
                ends[i][side] = node.y + (place - (len(here) - 1) / 2) * _PORT
    return [(start, end) for start, end in ends]


def _arrow(edge: Edge, chain: Sequence[Slot], start: float, end: float) -> str:
    colour, width, opacity = GREY, 1.2, 0.75
    if edge.label:
        strength = 0.6 if edge.weight is None else edge.weight
        colour, width = colour_of(edge.label), 0.9 + 2.6 * strength
        opacity = 1.0 if edge.weight is None else 0.3 + 0.7 * math.sqrt(strength)
    source, target = chain[0], chain[-1]
    path = [f"M{num(source.x + source.width / 2)} {num(start)}H{num(source.right)}"]
    x, y = source.right, start
    # Level across every column, so that edges turn only between columns, where no box is.
    for slot in chain[1:-1]:
        path.append(f"{_curve(x, y, slot.left, slot.y)}H{num(slot.right)}")
        x, y = slot.right, slot.y
    tip = target.x - target.width / 2
    path.append(f"{_curve(x, y, target.left - _ARROW, end)}H{num(tip - _ARROW)}")
    half = 3.2 + width / 4
    head = f"{num(tip)},{num(end)} {num(tip - _ARROW)},{num(end - half)} "
    head += f"{num(tip - _ARROW)},{num(end + half)}"
    return (
        f'<g opacity="{opacity:.2f}"><path d="{"".join(path)}" fill="none" stroke="{colour}" '
        f'stroke-width="{width:.2f}"/><polygon points="{head}" fill="{colour}"/></g>'
    )


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = num((x + to_x) / 2)
    return f"C{middle} {num(y)} {middle} {num(to_y)} {num(to_x)} {num(to_y)}"


def _pill(edge: Edge, slot: Slot) -> str:
    text = _pill_text(edge)
    width = text_width(text, _LABEL_TEXT) + 18
    return (
        f'<g><title>{clean(edge.label)}</title><rect x="{num(slot.x - width / 2)}" '
        f'y="{num(slot.y - _LABEL_HEIGHT / 2)}" width="{num(width)}" '
        f'height="{num(_LABEL_HEIGHT)}" rx="{num(_LABEL_HEIGHT / 2)}" fill="#ffffff" '
        f'stroke="{colour_of(edge.label)}" stroke-width="1.4"/><text x="{num(slot.x)}" '
        f'y="{num(slot.y + 4.2)}" text-anchor="middle" font-size="{num(_LABEL_TEXT)}" '
        f'fill="{INK}">{clean(text)}</text></g>'
    )
