"""``nas-plugin describe`` and ``nas-plugin compile``."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nas_plugin.cli import main
from nas_plugin.description import ModelGraph, Op, describe, node_costs, read_graph

TEXT = """\
parameters: {width: 2}
nodes:
  a: {name: conv, kernel: 3, c_out: 2 * width, bias: false}
  b: {one_of: [relu, {name: conv, bias: false}], key: pick}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.yaml").write_text(TEXT)
    return tmp_path / "net.yaml"


def test_a_file_is_checked_node_by_node(file, capsys):
    assert main(["compile", str(file), "--check", "--input", "3,4,5"]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # 20 pixels; 3 x 4 x 9 weights, then at most 4 x 4.
    assert lines[1] == ["a", "4x4x5", "108", f"{2 * 108 * 20:,}"]
    assert lines[2] == ["b", "4x4x5", "16", "0", "to", "640"]
    assert lines[3][:3] == ["in", "all", "124"]
    assert lines[4] == ["1", "choices,", "2", "architectures"]


def test_parameters_and_architectures_are_given_on_the_command_line(file, tmp_path, capsys):
    (tmp_path / "found.json").write_text(json.dumps({"pick": "conv"}))
    out = tmp_path / "found.yaml"
    shape = TEXT.replace("parameters", "inputs: {x: [3, 4, 5]}\nparameters")
    file.write_text(shape)

    flags = ["--set", "width=3", "--architecture", str(tmp_path / "found.json")]
    assert main(["describe", str(file), *flags, "--out", str(out)]) == 0

    found = read_graph(out)
    assert found.nodes["b"].operation == Op("conv", bias=False)
    assert found.parameters == {"width": 3}
    assert main(["describe", str(file), "--set", "with=3"]) == 1
    assert "no parameter 'with'. Did you mean 'width'" in capsys.readouterr().err
    assert main(["describe", str(file), "--set", "width"]) == 2


def test_a_space_is_described_and_drawn(tmp_path, capsys):
    drawn = tmp_path / "cell.svg"
    sizes = ["--set", "cells=1", "--set", "channels=4"]

    assert main(["describe", "nasbench201", *sizes, "--draw", str(drawn)]) == 0
    assert main(["describe", "nasbench201", *sizes]) == 0

    printed = capsys.readouterr().out
    assert "edge_3_2" in printed and "operations:" in printed
    texts = [t.text for t in ElementTree.parse(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {"model", "cell", "reduction", "early: cell × 1", "n3"} <= set(texts)
    assert main(["describe", "nasbench201", "--set", "cell=1"]) == 2
    assert "Did you mean 'cells'" in capsys.readouterr().err


def test_costs_of_a_node_are_those_of_its_parts():
    description = describe("nasbench201", channels=4, cells=2)

    costs = {name: cost for name, (_, cost) in node_costs(description.graph).items()}

    # By hand: 3 x 3 x 4 x 4 and 1 x 1 x 4 x 4 weights and two batch norms of 8, on six edges.
    assert costs["early"].params == 2 * 6 * (144 + 16 + 16)
    assert costs["early"].most == 2 * 6 * 2 * 144 * 32 * 32
    assert costs["early"].least == 0
    assert costs["classifier"].most == 2 * 16 * 10


def test_a_searched_depth_costs_between_its_ends():
    from nas_plugin.description import Repeated

    graph = ModelGraph({"x": (4, 2, 2)})
    graph.add_node("a", Repeated(Op("conv", bias=False), (1, 3)))

    ((_, cost),) = node_costs(graph).values()

    assert (cost.params, cost.least, cost.most) == (48, 2 * 16 * 4, 3 * 2 * 16 * 4)
