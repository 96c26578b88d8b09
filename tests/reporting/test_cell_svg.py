from __future__ import annotations

import itertools
import random
import re
from xml.etree import ElementTree

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.reporting import CellDrawing, Edge
from nas_plugin.reporting._svg import GREY, colour_of, text_width

SVG = "{http://www.w3.org/2000/svg}"
OPS = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "max_pool_3x3", "skip_connect", "none")
HOSTILE = [
    "</svg><script>alert(1)</script>",
    '"><image href="http://example.com/x.png"/>',
    "' onload='alert(1)",
    "<!--",
    "]]>",
    "&amp;&#0;\x00\x0b\ud800\uffff",
    "x" * 5000,
    "ü 中文 \u202e rtl",
    "a\nb\tc",
]


def darts_cell(seed: int, edges_per_node: int | None) -> CellDrawing:
    """A cell of four intermediate nodes with all edges, or with some of them at random."""
    rng = random.Random(seed)
    names = ["c_{k-2}", "c_{k-1}", "n2", "n3", "n4", "n5"]
    edges = []
    for node in range(2, 6):
        sources = range(node) if edges_per_node is None else rng.sample(range(node), edges_per_node)
        weight = rng.random() if edges_per_node is None else None
        edges += [Edge(names[s], names[node], rng.choice(OPS), weight) for s in sources]
    edges += [Edge(names[node], "c_k") for node in range(2, 6)]
    return CellDrawing([*names, "c_k"], edges)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def boxes(root: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """The rectangles (left, top, right, bottom) of nodes and labels, read from the file."""
    found = []
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name, "nan")) for name in ("x", "y", "width", "height"))
        found.append((x, y, x + w, y + h))
    return found


def points(path: str) -> list[tuple[float, float]]:
    """Points along a path of M, H and C commands."""
    x = y = 0.0
    found = []
    for command, numbers in re.findall(r"([MHC])([^MHC]*)", path):
        values = [float(number) for number in numbers.split()]
        if command == "M":
            x, y = values
        elif command == "H":
            found += [(x + (values[0] - x) * i / 50, y) for i in range(51)]
            x = values[0]
        else:
            x1, y1, x2, y2, x3, y3 = values
            for t in (i / 20 for i in range(21)):
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                px, py = a * x + b * x1 + c * x2 + d * x3, a * y + b * y1 + c * y2 + d * y3
                found.append((px, py))
            x, y = x3, y3
    return found


@pytest.mark.parametrize("edges_per_node", [2, None])
@pytest.mark.parametrize("seed", range(6))
def test_no_boxes_meet_and_no_arrow_runs_through_another_label(seed, edges_per_node):
    root = parsed(darts_cell(seed, edges_per_node).to_svg("normal"))
    all_boxes = boxes(root)
    arrows = [points(path.get("d", "")) for path in root.iter(f"{SVG}path")]
    assert len(all_boxes) == 7 + (14 if edges_per_node is None else 8)
    assert len(arrows) == len(all_boxes) - 7 + 4
    for a, b in itertools.combinations(all_boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    labels = all_boxes[7:]
    for arrow in arrows:
        met = {
            box for box in labels for x, y in arrow if box[0] < x < box[2] and box[1] < y < box[3]
        }
        assert len(met) <= 1  # its own
        inside_nodes = [
            (x, y)
            for x, y in arrow
            for box in all_boxes[:7]
            if box[0] + 0.2 < x < box[2] - 0.2 and box[1] < y < box[3]
        ]
        assert not inside_nodes


def test_everything_lies_inside_the_picture():
    root = parsed(darts_cell(0, None).to_svg())
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for left, top, right, bottom in boxes(root):
        assert left >= 0 and top >= 0 and right <= width and bottom <= height


def test_every_edge_carries_its_label():
    drawing = CellDrawing(["a", "b", "c"], [Edge("a", "b", "conv"), Edge("a", "c", "pool", 0.25)])
    texts = ["".join(text.itertext()) for text in parsed(drawing.to_svg()).iter(f"{SVG}text")]
    assert sorted(texts) == ["a", "b", "c", "conv", "pool  0.25"]


def test_a_likelier_edge_is_thicker_and_more_opaque():
    drawing = CellDrawing(["a", "b"], [Edge("a", "b", "x", p) for p in (0.9, 0.1)])
    groups = [g for g in parsed(drawing.to_svg()).iter(f"{SVG}g") if g.get("opacity")]
    faint, strong = [
        (float(g.get("opacity", 0)), float(g.find(f"{SVG}path").get("stroke-width", 0)))
        for g in groups
    ]
    assert faint[0] < strong[0] and faint[1] < strong[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text(text):
    drawing = CellDrawing([text, "b"], [Edge(text, "b", text, 0.5)])
    svg = drawing.to_svg(text)
    svg.encode("utf-8")
    tags = {element.tag.removeprefix(SVG) for element in parsed(svg).iter()}
    assert tags <= {"svg", "title", "g", "path", "polygon", "rect", "text", "tspan"}
    assert "onload" not in {name for e in parsed(svg).iter() for name in e.attrib}
    for a, b in itertools.combinations(boxes(parsed(svg)), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_text_is_not_wider_than_its_label():
    font_module = pytest.importorskip("PIL.ImageFont")
    matplotlib = pytest.importorskip("matplotlib")
    font = font_module.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 100)
    for name in (*OPS, "Identity", "MBConv_6_7x7_SE", "c_{k-1}", "0.42", "illicit fjord"):
        assert font.getlength(name) <= text_width(name, 100) + 60  # half the padding of a label


@pytest.mark.parametrize(
    ("nodes", "edges", "says"),
    [
        (["a", "a"], [], "different names"),
        (["a"], [Edge("a", "b")], "needs a node 'b'"),
        (["a", "b"], [Edge("a", "b"), Edge("b", "a")], "cycle"),
        (["a"], [Edge("a", "a")], "cycle"),
        (["a", "b"], [Edge("a", "b", "x", 1.5)], "weight 1.5"),
        (["a", "b"], [Edge("a", "b", "x", float("nan"))], "weight nan"),
    ],
)
def test_impossible_drawings_are_refused(nodes, edges, says):
    with pytest.raises(OptionError, match=says):
        CellDrawing(nodes, edges)


def test_a_drawing_is_the_same_every_time():
    assert darts_cell(3, None).to_svg() == darts_cell(3, None).to_svg()


def test_a_drawing_without_nodes_is_an_empty_picture():
    assert not boxes(parsed(CellDrawing([], []).to_svg()))


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("page", ["#ffffff", "#0d1117"])
def test_lines_and_titles_stand_out_on_white_and_on_dark_pages(page):
    def contrast(colour: str) -> float:
        low, high = sorted((luminance(colour), luminance(page)))
        return (high + 0.05) / (low + 0.05)

    assert contrast(GREY) >= 4
    names = [*OPS, *(f"candidate {i}" for i in range(100))]
    assert min(contrast(colour_of(name)) for name in names) >= 3
