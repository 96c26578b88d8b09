from __future__ import annotations

from xml.etree import ElementTree

import pytest

from nas_plugin.errors import ArchitectureError
from nas_plugin.reporting import (
    Edge,
    cell_from_architecture,
    cell_from_probabilities,
    cell_prefixes,
    draw_architecture,
)

CELL = {
    "normal_n2_p0": "skip_connect",
    "normal_n2_p1": "sep_conv_3x3",
    "normal_n2_switch": ["normal_n2_p0", "normal_n2_p1"],
    "normal_n3_p0": "max_pool_3x3",
    "normal_n3_p1": "none",
    "normal_n3_p2": "dil_conv_5x5",
    "normal_n3_switch": ["normal_n3_p0", "normal_n3_p2"],
}


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_cell_has_the_edges_that_its_switches_keep():
    drawing = cell_from_architecture(CELL, "normal")
    assert drawing.nodes == ["c_{k-2}", "c_{k-1}", "n2", "n3", "c_k"]
    assert drawing.edges == [
        Edge("c_{k-2}", "n2", "skip_connect"),
        Edge("c_{k-1}", "n2", "sep_conv_3x3"),
        Edge("c_{k-2}", "n3", "max_pool_3x3"),
        Edge("n2", "n3", "dil_conv_5x5"),
        Edge("n2", "c_k"),
        Edge("n3", "c_k"),
    ]


def test_a_cell_without_switches_keeps_all_edges_and_may_end_in_its_last_node():
    keys = {"cell_n1_p0": "conv", "cell_n2_p0": "none", "cell_n2_p1": []}
    drawing = cell_from_architecture(keys, "cell", output="last")
    assert drawing.nodes == ["c_{k-1}", "n1", "n2", "c_k"]
    assert drawing.edges == [
        Edge("c_{k-1}", "n1", "conv"),
        Edge("c_{k-1}", "n2", "none"),
        Edge("n2", "c_k"),
    ]


def test_weights_are_those_of_the_chosen_candidates():
    weights = {"normal_n2_p0": {"skip_connect": 1.0000001, "none": 0.2}}
    edges = cell_from_architecture(CELL, "normal", weights=weights).edges
    assert [edge.weight for edge in edges] == [1.0, None, None, None, None, None]


def test_a_running_search_is_drawn_with_every_edge_and_its_favourite():
    probabilities = {
        f"c_n{node}_p{source}": {"a": 0.25, "b": 0.75} for node in (2, 3) for source in range(node)
    }
    edges = cell_from_probabilities(probabilities, "c").edges
    assert [(edge.label, edge.weight) for edge in edges] == [("b", 0.75)] * 5 + [("", None)] * 2


def test_cells_are_found_by_their_edges():
    keys = {"a_n1_n2_p0": "x", "b_n2_switch": [], "n2_p0": "x", "c_n2_p": "x", "_n1_p0": "x"}
    assert cell_prefixes(keys) == ["", "a_n1"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"normal_n3_switch": ["normal_n3_p0", "normal_n3_p9"]}, "normal_n3_p9"),
        ({"normal_n3_p3": "x"}, "backward"),
        ({"normal_n5_p0": "x"}, r"no edges into its nodes \[4\]"),
        ({"normal_n0_p0": "x"}, "backward"),
    ],
)
def test_contradictory_cells_are_refused_and_shown_in_the_table_instead(change, says):
    with pytest.raises(ArchitectureError, match=says):
        cell_from_architecture({**CELL, **change}, "normal")
    shown = texts(draw_architecture({**CELL, **change}))
    assert {*CELL, *change} <= set(shown)


def test_numbers_that_would_make_a_giant_picture_are_refused():
    with pytest.raises(ArchitectureError, match="inputs"):
        cell_from_architecture({"c_n900_p899": "x"}, "c")


def test_an_unknown_cell_is_an_error_that_lists_the_known():
    with pytest.raises(ArchitectureError, match=r"no cell 'reduce'.*\['normal'\]"):
        cell_from_architecture(CELL, "reduce")


def test_an_architecture_shows_cells_as_graphs_and_the_rest_as_rows():
    architecture = {**CELL, "depth": 3, "skips": ["a", "b"], "nothing": [], "<b>": "</svg>"}
    shown = texts(draw_architecture(architecture, "found", {"depth": {3: 0.5}}))
    assert {"found", "normal", "ck-1", "dil_conv_5x5", "depth", "a, b", "<b>", "</svg>"} <= set(
        shown
    )
    assert shown[shown.index("depth") + 1].split() == ["3", "0.50"]
    assert shown[shown.index("nothing", shown.index("depth")) + 1] == "nothing"
    assert "normal_n2_p0" not in shown


def test_large_and_empty_architectures_are_drawn():
    many = {f"blocks/{i}/op": "conv" for i in range(300)}
    assert set(many) <= set(texts(draw_architecture(many)))
    assert texts(draw_architecture({})) == ["No choices."]


def test_rows_are_sorted_as_people_count():
    shown = texts(draw_architecture({f"b{i}": "x" for i in (10, 2, 1)}))
    assert shown[::2] == ["b1", "b2", "b10"]
