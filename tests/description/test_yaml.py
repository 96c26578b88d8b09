"""Descriptions in YAML: forms, numbers, and errors with their line."""

from __future__ import annotations

import pytest
import torch

from nas_plugin.description import (
    AnyOf,
    ModelGraph,
    OneOf,
    Op,
    Repeated,
    compile_graph,
    from_yaml,
    read_graph,
    to_yaml,
    write_graph,
)
from nas_plugin.errors import FileError

TEXT = """\
parameters: {channels: 4, cells: 2}
inputs: {image: [3, 8, 8]}
operations:
  pick: {one_of: [conv_bn_relu, max_pool, {name: zero, keep: true}]}
  cell:
    key: cell
    nodes:
      left: {name: pick, key: left}
      right: {from: input, op: pick}
      out: {from: [left, right, input], join: {any: 2, key: two}}
  shrink: {name: conv_bn_relu, stride: 2, c_out: 2 * c_in}
nodes:
  stem: {name: conv_bn_relu, c_out: channels}
  early: {repeat: cell, times: cells}
  smaller: shrink
  late: {repeat: cell, times: [1, 3]}
  beside: {from: {smaller: relu, late: }, join: mean}
  head: [global_avg_pool, {name: linear, c_out: 10}]
"""


def test_short_forms_mean_what_python_spells_out():
    pick = OneOf({"conv_bn_relu": "conv_bn_relu", "max_pool": "max_pool",
                  "zero": Op("zero", keep=True)})  # fmt: skip
    cell = ModelGraph(key="cell")
    cell.add_node("left", OneOf(dict(pick.candidates), "left"), inputs="input")
    cell.add_node("right", pick, inputs="input")
    cell.add_node("out", inputs=["left", "right", "input"], join=AnyOf(2, "two"))
    net = ModelGraph({"image": (3, 8, 8)}, parameters={"channels": 4, "cells": 2})
    net.add_node("stem", Op("conv_bn_relu", c_out="channels"))
    net.add_node("early", Repeated(cell, "cells"))
    net.add_node("smaller", Op("conv_bn_relu", stride=2, c_out="2 * c_in"))
    net.add_node("late", Repeated(cell, (1, 3)))
    net.add_node("beside", inputs={"smaller": "relu", "late": None}, join="mean")
    net.add_node("head", ["global_avg_pool", Op("linear", c_out=10)])

    read = from_yaml(TEXT)

    assert read == net
    assert from_yaml(to_yaml(read)) == read
    assert to_yaml(read).count("one_of") == 1


def test_a_file_takes_other_numbers(tmp_path):
    (tmp_path / "net.yaml").write_text(TEXT)

    graph = read_graph(tmp_path / "net.yaml", channels=6, cells=1)

    model = compile_graph(graph)
    assert len(model.early) == 1 and model.stem[0].out_channels == 6
    assert model.smaller[0].out_channels == 12
    write_graph(graph, tmp_path / "other.yaml")
    assert read_graph(tmp_path / "other.yaml") == graph
    with pytest.raises(FileError, match=r"net.yaml, line 1: .*no parameter 'cell'.*'cells'"):
        read_graph(tmp_path / "net.yaml", cell=3)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("stride: 2", "strid: 2", 11, "no parameter 'strid'.*'stride'"),
        ("repeat: cell, times: cells", "repeat: cel, times: cells", 14, "Unknown operation 'cel'"),
        ("times: cells}", "times: cellz}", 14, "holds 'cellz'.*'cells'"),
        ("times: cells}", "time: cells}", 14, "unknown key 'time'.*'times'"),
        ("times: cells}", "}", 14, "holds 'missing'"),
        ("out: {from: [left, right", "out: {from: [left, rigth", 10, "reads 'rigth'.*'right'"),
        ("join: {any: 2, key", "join: {any: 4, key", 10, "chooses 4 of its 3"),
        ("join: {any: 2, key", "join: {any: 0, key", 10, "any takes a positive"),
        ("join: mean", "join: median", 17, "A join is one of"),
        ("c_out: 2 * c_in", "c_out: 2 ** c_in", 11, "is no expression"),
        ("[3, 8, 8]", "[3, 8, -8]", 2, "The shape of input 'image'"),
        ("stem: {name", "half: {name", 13, "'half' is taken by torch modules"),
        ("inputs: {", "input: {", 2, "unknown key 'input'.*'inputs'"),
        ("smaller: shrink", "smaller: 3", 15, "expected an operation.*found 3"),
        ("smaller: shrink", "smaller: {name: shrink, c_out: 5}\n  x: {from: [stem, early]}", 18,
         "different shapes"),
        ("key: left}", "key: left, stride: 2}", 8, "takes a key, no stride"),
        ("{name: linear, c_out: 10}", "{name: linear, kernel: 10}", 18, "no parameter 'kernel'"),
        ("{name: linear, c_out: 10}", "conv", 18, "'head/conv': operation 'conv'.*fails"),
        ("  pick:", "  conv:", 4, "cannot be called 'conv'"),
        ("times: cells}", "times: 2 * cells - 5}", 14, "must be a whole number"),
    ],
)  # fmt: skip
def test_an_error_names_file_and_line(old, new, line, said):
    assert old in TEXT

    with pytest.raises(FileError, match=rf"x.yaml, line {line}: .*{said}"):
        from_yaml(TEXT.replace(old, new, 1), "x.yaml")


def test_an_error_inside_a_definition_names_its_line():
    text = TEXT.replace("right: {from: input, op: pick}", "right: {name: conv, c_out: 2}")

    with pytest.raises(FileError, match=r"line 10: Node 'early/out': inputs of different shapes"):
        from_yaml(text)


@pytest.mark.parametrize(
    "value", ["1e-3", "no", "null", "~", "0o7", "<<", "12:30", "", " a ", "2", "true"]
)
def test_text_stays_text_whatever_it_looks_like(value):
    graph = ModelGraph()
    graph.add_node("a", OneOf({"x": "relu"}, value or None))

    assert from_yaml(to_yaml(graph)) == graph


def test_the_compiled_file_runs():
    model = compile_graph(from_yaml(TEXT))

    from nas_plugin import apply_fixed_architecture, search_space

    space = search_space(model)
    assert set(space) == {"left", "cell/right", "two", "late"}
    child = apply_fixed_architecture(model, space.first())
    assert child(torch.ones(2, 3, 8, 8)).shape == (2, 10)
