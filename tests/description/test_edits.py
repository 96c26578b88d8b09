"""Edits of a graph, one by one, and what they refuse."""

from __future__ import annotations

import pickle

import networkx
import pytest

from nas_plugin.description import AnyOf, ModelGraph, OneOf, Op, Repeated, compile_graph
from nas_plugin.errors import DescriptionError


@pytest.fixture
def net() -> ModelGraph:
    graph = ModelGraph(inputs={"image": (3, 8, 8)})
    graph.add_node("stem", Op("conv_bn_relu", c_out=8))
    graph.add_node("left", "relu")
    graph.add_node("right", "max_pool", inputs="stem")
    graph.add_node("both", inputs=["left", "right"])
    return graph


def test_a_node_reads_the_one_before_and_the_output_is_what_nobody_reads(net):
    assert net.nodes["left"].sources == ("stem",)
    assert net.outputs == ("both",)
    assert networkx.ancestors(net.digraph, "both") == {"image", "stem", "left", "right"}
    with pytest.raises(networkx.NetworkXError):
        net.digraph.add_edge("both", "stem")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda g: g.add_node("stem"), "a node 'stem' already"),
        (lambda g: g.add_node("new", inputs="stm"), "reads 'stm'.*mean 'stem'"),
        (lambda g: g.add_node("new", inputs=[]), "'new' would be left without an input"),
        (lambda g: g.add_node("new", "conw"), "Unknown operation 'conw'.*mean 'conv'"),
        (lambda g: g.add_node("new", Op("conv", kernl=3)), "no parameter 'kernl'.*'kernel'"),
        (lambda g: g.add_node("new", Op("conv", kernel=True)), "kernel is int, got True"),
        (lambda g: g.add_node("new", Op("conv", c_in=3)), "'c_in' is the number of channels"),
        (lambda g: g.add_node("new", Op("conv", c_out="2 * wide")), "holds 'wide'.*Known: c_in"),
        (lambda g: g.add_node("new", Op("conv", kernel=2)), "Node 'new': .*kernel must be odd"),
        (lambda g: g.add_node("new", Op("conv", c_out="0.5 * c_in")), "c_out is int, but.*//"),
        (lambda g: g.add_node("new", join="apart"), "'new' holds an operation of 1 inputs"),
        (lambda g: g.add_node("new", inputs=["left"], join=AnyOf(2)), "chooses 2 of its 1"),
        (lambda g: g.add_node("new", inputs=["left", "image"]), "different shapes.*sum: left"),
        (lambda g: g.add_node("edges"), "'edges' is taken by torch modules"),
        (lambda g: g.add_node("a.b"), "A name begins with a letter.*'a.b'"),
        (lambda g: g.add_edge("left", "both"), "reads 'left' already"),
        (lambda g: g.add_edge("both", "stem"), "form a cycle"),
        (lambda g: g.remove_node("stem"), "'stem' is read by left, right"),
        (lambda g: g.remove_node("nobody"), "no node 'nobody'"),
        (lambda g: g.remove_edge("stem", "left"), "'left' would be left without"),
        (lambda g: g.remove_edge("image", "left"), "'left' does not read 'image'"),
        (lambda g: g.replace("left", Op("conv", c_out=9)), "'both': .*left .9, 8, 8., right .8"),
        (lambda g: g.choose("left", {"a": "relu", "b": Op("conv", c_out=3)}), "'left': .*b .3"),
        (lambda g: g.choose("left", ["relu", "relu"]), "different names"),
        (lambda g: g.choose("left", {"a/b": "relu"}), "without '.' and '/'"),
        (lambda g: g.choose("left", {"names": "relu"}), "'names' is taken by choice"),
        (lambda g: g.replace("left", Repeated(Op("conv", c_out=4), (1, 2))), "keep the shape"),
        (lambda g: g.replace("left", Repeated("relu", 100_001)), "more than 100000"),
        (lambda g: g.set_join("both", "loose") or g.add_edge("right", "both"), "already"),
        (lambda g: g.set_outputs("both", "none"), "output 'none' is no node"),
        (lambda g: g.nest(["stem", "both"], "part"), "'both' depends on the others"),
        (lambda g: g.nest(["left", "right"], "part"), "Exactly one"),
        (lambda g: g.unnest("left"), "'left' holds no sub-graph"),
    ],
)
def test_a_refused_edit_names_the_node_and_changes_nothing(net, edit, said):
    before = net.copy()

    with pytest.raises(DescriptionError, match=said):
        edit(net)

    if "set_outputs" not in str(edit) and net.nodes["both"].join == "sum":
        assert net == before


def test_choices_of_one_key_must_agree(net):
    net.choose("left", {"a": "relu", "b": "conv"}, key="k")
    with pytest.raises(DescriptionError, match="'left' chooses layer .*'right' layer"):
        net.choose("right", {"a": "relu"}, key="k")

    net.choose("right", {"a": "conv", "b": "relu"}, key="k")

    assert net.nodes["right"].operation == OneOf({"a": "conv", "b": "relu"}, "k")


def test_what_is_loose_must_be_possible(net):
    with pytest.raises(DescriptionError, match="all its inputs are read by others"):
        net.add_node("rest", inputs=["left"], join="loose")


def test_edits_that_make_sense_together_are_checked_together(net):
    with net.editing():
        net.remove_node("right")
        net.add_node("right", "avg_pool", inputs="stem")
    assert net.nodes["right"].operation == Op("avg_pool")

    before = net.copy()
    with pytest.raises(DescriptionError, match="'both' reads 'right', which is none"):
        with net.editing():
            net.replace("left", "conv")
            net.remove_node("right")
    assert net == before


def test_what_another_graph_holds_cannot_change_under_it():
    part = ModelGraph()
    part.add_node("a", "relu")
    whole = ModelGraph()
    whole.add_node("part", part)
    part.add_node("b", "conv")

    assert list(whole.nodes["part"].operation.nodes) == ["a"]
    with pytest.raises(DescriptionError, match="part of another"):
        whole.nodes["part"].operation.add_node("c", "relu")


def test_what_nobody_reads_is_an_error_where_it_counts(net):
    net.add_node("extra", "relu", inputs="stem")

    with pytest.raises(DescriptionError, match="Nobody reads both and extra"):
        compile_graph(net)
    net.set_outputs("both")
    with pytest.raises(DescriptionError, match="'extra' does not reach the output"):
        compile_graph(net)
    net.set_outputs("extra", "both")
    import torch

    first, second = compile_graph(net)(torch.ones(2, 3, 8, 8))
    assert first.shape == second.shape == (2, 8, 8, 8)


def test_a_sub_graph_with_a_key_leaves_its_keys_behind():
    part = ModelGraph(key="cell")
    part.add_node("a", OneOf(["relu", "conv"]))
    graph = ModelGraph()
    graph.add_node("part", part)

    graph.unnest("part")

    assert graph.nodes["a"].operation == OneOf(["relu", "conv"], "cell/a")


def test_parameters_of_a_sub_graph_are_replaced_where_it_is_unnested():
    part = ModelGraph(parameters={"c": 4})
    part.add_node("a", Op("conv", c_out="2 * c + c_in"))
    graph = ModelGraph(inputs={"x": (3, 4, 4)}, parameters={"width": 5})
    graph.add_node("part", part.with_parameters(c="width - 1"))
    before = compile_graph(graph)

    graph.unnest("part")

    assert graph.nodes["a"].operation == Op("conv", c_out="2 * ( width - 1 ) + c_in")
    assert compile_graph(graph).a.out_channels == before.part.a.out_channels == 11


def test_a_hash_stays_in_its_process(net):
    graph = net.frozen()
    hash(graph)
    copied = pickle.loads(pickle.dumps(graph))
    assert copied == graph and vars(copied)["_hash"] is None
