"""Pieces of SVG that read well on white and on dark pages."""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from html import escape

FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
INK = "#1f2937"  # on light boxes
GREY = "#6f7b88"  # on any page: at least 4 to 1 on white and on near-black
MAX_TEXT = 34

# Line colours, each at least 3 to 1 on white and on near-black.
_FAMILIES = (
    (("none", "zero"), "#8b95a1"),
    (("skip", "identity"), "#1f9d63"),
    (("pool",), "#cf7a17"),
    (("dil",), "#a05be0"),
    (("conv", "sep", "mb"), "#3b7fe0"),
)
_OTHERS = ("#d0478f", "#1597a5", "#d2562f", "#7a8b1c", "#6a6ff0", "#b0702c")

# XML 1.0 has no way to write these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUBSCRIPT = re.compile(r"([A-Za-z]{1,3})_(?:\{([^{}]{1,8})\}|([A-Za-z0-9]))")


@dataclass(frozen=True)
class Picture:
    """A piece of SVG with its size."""

    width: float
    height: float
    body: str


def document(picture: Picture, title: str) -> str:
    """Returns a whole SVG file."""
    size = f"{num(picture.width)} {num(picture.height)}".split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{clean(title)}" '
        f'font-family="{FONT}">\n<title>{clean(title)}</title>\n{picture.body}\n</svg>\n'
    )


def clean(text: str) -> str:
    """Returns text that is safe inside an element or an attribute; what XML lacks becomes �."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)


def num(value: float) -> str:
    """Returns a number with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def shortened(text: str, longest: int = MAX_TEXT) -> str:
    """Returns one line of at most `longest` characters."""
    line = " ".join(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def text_width(text: str, size: float) -> float:
    """Returns a width that the text does not exceed in common sans-serif fonts."""
    ems = 0.0
    for char in text:
        if unicodedata.combining(char):
            continue
        if unicodedata.east_asian_width(char) in "WF" or ord(char) > 0x2FFF:
            ems += 1.1
        elif char in "iljtf.,:;|!'()[] 1":
            ems += 0.42
        elif char in "mwMW@%&…—":
            ems += 1.0
        else:
            ems += 0.66 if not char.isupper() else 0.76
    return ems * size


def label(text: str) -> str:
    """Returns a short name as text content, ``c_{k-1}`` with its index set low."""
    match = _SUBSCRIPT.fullmatch(text)
    if match is None:
        return clean(text)
    low = match[2] or match[3]
    return f'{clean(match[1])}<tspan dy="4" font-size="72%">{clean(low)}</tspan>'


def label_text(text: str) -> str:
    """Returns what `label` shows, without markup."""
    match = _SUBSCRIPT.fullmatch(text)
    return text if match is None else match[1] + (match[2] or match[3])


def colour_of(candidate: str) -> str:
    """Returns the colour of a candidate: one per family of operations, else by its name."""
    name = candidate.lower()
    for words, colour in _FAMILIES:
        if any(word in name for word in words):
            return colour
    return _OTHERS[zlib.crc32(name.encode("utf-8", "replace")) % len(_OTHERS)]
