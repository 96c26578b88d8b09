"""What holds of every graph, tried on random ones."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nas_plugin.choice import Decision, keyed_blocks
from nas_plugin.description import ModelGraph, carry_weights, compile_graph, from_yaml, to_yaml
from nas_plugin.errors import DescriptionError
from tests.description.interpreter import Interpreter
from tests.description.random_graphs import SIZE, C, graphs, operations

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


class Deciding:
    """Decides all blocks of a model, by drawn mixes or by single paths."""

    owner = "a test"
    dispatch = None

    def __init__(self, model: torch.nn.Module, rng: random.Random, *, mixed: bool) -> None:
        self.decisions: dict[str, Decision] = {}
        for place in keyed_blocks(model):
            block, k = place.block, len(place.block.candidates)
            n = block.n_chosen
            if place.key not in self.decisions:
                if mixed:
                    mix = torch.tensor([rng.uniform(-1, 1) for _ in range(k)], dtype=torch.float64)
                    self.decisions[place.key] = Decision(mix, tuple(range(k)))
                else:
                    size = rng.randint(0, k) if n is None else n
                    active = tuple(sorted(rng.sample(range(k), size)))
                    self.decisions[place.key] = Decision(None, active)
            block.bind(self, place.key)

    def forget(self) -> None:
        pass

    def __call__(self, key: str) -> list[tuple[int, Any]]:
        decision = self.decisions[key]
        mix = decision.mix
        return [(i, None if mix is None else mix[i]) for i in decision.active]


def compiled(graph: ModelGraph, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = compile_graph(graph, dict.fromkeys(graph.inputs, (C, SIZE, SIZE)))
    model = model.double().eval()
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model


def batch(graph: ModelGraph) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [
        torch.randn(2, C, SIZE, SIZE, dtype=torch.float64, generator=generator)
        for _ in graph.inputs
    ]
    return made


@SETTINGS
@given(graphs(), st.integers(0, 10**6), st.booleans())
def test_a_compiled_graph_computes_what_plain_functions_do(graph, seed, mixed):
    model = compiled(graph)
    decide = Deciding(model, random.Random(seed), mixed=mixed)
    inputs = batch(graph)
    kept = [x.clone() for x in inputs]

    with torch.no_grad():
        found = model(*inputs)

    wanted = Interpreter(model.state_dict(), decide).graph(graph, kept)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(x, y) for x, y in zip(inputs, kept, strict=True))


@SETTINGS
@given(graphs())
def test_a_graph_survives_yaml(graph):
    again = from_yaml(to_yaml(graph))

    assert again == graph
    assert list(again.nodes) == list(graph.nodes)
    assert to_yaml(again) == to_yaml(graph)


@SETTINGS
@given(graphs(), st.data())
def test_nesting_and_unnesting_change_nothing(graph, data):
    names = data.draw(st.lists(st.sampled_from(list(graph.nodes)), min_size=1, unique=True))
    before = graph.copy()
    outputs = graph.outputs
    try:
        graph.nest(names, "nested")
    except DescriptionError:
        assert graph == before
        return
    assert graph.nodes.keys() == {*before.nodes.keys() - set(names), "nested"}
    decided = compiled(graph)
    Deciding(decided, random.Random(0), mixed=True)
    graph.unnest("nested")

    assert graph == before
    assert graph.outputs == outputs


@SETTINGS
@given(graphs(), st.data())
def test_an_edit_keeps_the_weights_of_untouched_nodes(graph, data):
    old = compiled(graph)
    name = data.draw(st.sampled_from(list(graph.nodes)))
    if graph.nodes[name].join == "apart":
        return
    graph.replace(name, data.draw(st.one_of(st.none(), operations(1))))
    new = compiled(graph, seed=1)

    copied = carry_weights(old, new)

    touched = f"{name}."
    kept = {n for n in old.state_dict() if not n.startswith(touched)}
    assert kept == {n for n in new.state_dict() if not n.startswith(touched)}
    assert kept <= set(copied)
    assert all(torch.equal(old.state_dict()[n], new.state_dict()[n]) for n in kept)


@SETTINGS
@given(graphs(), st.data())
def test_an_edit_happens_whole_or_not_at_all(graph, data):
    before = graph.copy()
    known = [*graph.inputs, *graph.nodes, "nowhere"]
    node = st.sampled_from(known)
    edit = data.draw(st.sampled_from(["edge", "drop", "node", "remove", "join", "key"]))
    try:
        if edit == "edge":
            graph.add_edge(data.draw(node), data.draw(node), data.draw(operations(1)))
        elif edit == "drop":
            graph.remove_edge(data.draw(node), data.draw(node))
        elif edit == "node":
            graph.add_node(data.draw(node), "conv", inputs=[data.draw(node), data.draw(node)])
        elif edit == "remove":
            graph.remove_node(data.draw(node))
        elif edit == "join":
            graph.set_join(data.draw(node), data.draw(st.sampled_from(["concat", "loose", "x"])))
        else:
            graph.choose(data.draw(node), {"p": "relu", "q": "conv"}, key="k1")
    except DescriptionError:
        assert graph == before and list(graph.nodes) == list(before.nodes)
        return
    assert all(source in known for n in graph.nodes.values() for source in n.sources)
    assert len(graph.order()) == len(graph.nodes)


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_apart(seed):
    graph = ModelGraph()
    graph.add_node("a", "relu")
    copy = graph.copy()
    copy.add_node("b", "relu")

    assert list(graph.nodes) == ["a"] and list(copy.nodes) == ["a", "b"]
