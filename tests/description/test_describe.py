"""Shipped spaces as graphs: the same keys, candidates, size, parameters and outputs, to the bit."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from nas_plugin import apply_fixed_architecture, search_space
from nas_plugin.choice import Decision, keyed_blocks
from nas_plugin.description import compile_graph, describe, from_yaml, to_yaml
from nas_plugin.errors import ArchitectureError, SpaceError
from nas_plugin.space.spaces import spaces
from search_spaces.darts import architecture_file, darts_retrain

SMALL = {
    "darts": {"channels": 4, "layers": 4, "nodes": 3},
    "darts_s2": {"channels": 4, "layers": 3},
    "darts_s4": {"channels": 4, "layers": 3},
    "nasbench201": {"channels": 4, "cells": 2},
    "nasbench101": {"channels": 4, "cells": 1},
    "nasbench1shot1_1": {"channels": 4, "cells": 2},
    "nasbench1shot1_2": {"channels": 4, "cells": 1},
    "nasbench1shot1_3": {"channels": 4, "cells": 1},
    "enas_micro": {"channels": 4, "layers": 3, "nodes": 3},
}


class Decided:
    """Decides blocks by given decisions."""

    owner, dispatch = "a test", None

    def __init__(self, decisions):
        self.decisions = decisions

    def forget(self):
        pass


def decide(models, rng, *, mixed):
    """Gives all models the same drawn decisions."""
    decisions = {}
    for place in keyed_blocks(models[0]):
        k, n = len(place.block.candidates), place.block.n_chosen
        if mixed:
            mix = torch.tensor([rng.random() for _ in range(k)])
            decision = Decision(mix, tuple(range(k)))
        else:
            size = rng.randint(1, k) if n is None else n
            decision = Decision(None, tuple(sorted(rng.sample(range(k), size))))
        decisions.setdefault(place.key, decision)
    for model in models:
        for place in keyed_blocks(model):
            place.block.bind(Decided(decisions), place.key)


def same_steps(first, second, x):
    """Compares two models in training mode, then, with the statistics it left, in evaluation."""
    for training in (True, True, False):
        first.train(training), second.train(training)
        torch.manual_seed(3)
        wanted = first(x)
        torch.manual_seed(3)
        assert torch.equal(second(x), wanted)


@pytest.mark.parametrize("name", SMALL)
def test_a_space_and_its_description_are_the_same(name):
    torch.manual_seed(0)
    model = spaces.get(name)(**SMALL[name])
    description = describe(model)
    graph = from_yaml(to_yaml(description.graph))
    compiled = compile_graph(graph)

    ours, theirs = search_space(compiled), search_space(model)
    assert ours == theirs and ours.size == theirs.size
    assert sorted(description.names.values()) == sorted(model.state_dict())
    compiled.load_state_dict(description.state_dict(model.state_dict()))
    counts = [sum(p.numel() for p in m.parameters()) for m in (model, compiled)]
    assert counts[0] == counts[1]
    x = torch.randn(2, 3, 16, 16)
    rng = random.Random(1)
    noise = "darts_s4" in name  # draws per candidate, in the order in which they run
    for mixed in (False, False) if noise else (False, True):
        decide([model, compiled], rng, mixed=mixed)
        if not noise:
            same_steps(model, compiled, x)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("seed", range(2))
def test_a_described_architecture_is_the_fixed_model(name, seed):
    torch.manual_seed(seed)
    model = spaces.get(name)(**SMALL[name])
    architecture = search_space(model).sample(random.Random(seed))
    description = describe(copy.deepcopy(model), architecture.to_json())
    fixed = apply_fixed_architecture(model, architecture)
    child = compile_graph(from_yaml(to_yaml(description.graph)))

    assert not keyed_blocks(child)
    child.load_state_dict(description.state_dict(fixed.state_dict()))
    assert set(description.names.values()) <= set(fixed.state_dict())
    if "noise" not in str(architecture):
        same_steps(fixed, child, torch.randn(2, 3, 16, 16))


def test_the_published_cell_with_drop_path_and_head():
    torch.manual_seed(0)
    net = darts_retrain(channels=4, layers=4)
    description = describe(net, architecture_file("darts_v2"))
    fixed = apply_fixed_architecture(net, architecture_file("darts_v2")).eval()
    child = compile_graph(description.graph).eval()
    child.load_state_dict(description.state_dict(fixed.state_dict()))
    x = torch.randn(2, 3, 16, 16)

    assert torch.equal(child(x), fixed(x))
    left = set(fixed.state_dict()) - set(description.names.values())
    assert left and all(name.startswith("auxiliary.") for name in left)
    assert "drop_path" in to_yaml(description.graph)


def test_what_cannot_be_described_says_so():
    with pytest.raises(SpaceError, match="MacroNet does not describe itself"):
        describe("enas_macro", channels=4)
    with pytest.raises(SpaceError, match="partial=1"):
        describe("darts", partial=4)
    with pytest.raises(ArchitectureError, match="edge_2_0"):
        describe("nasbench201", {"edge_1_0": "none"}, channels=4)
    description = describe("nasbench201", channels=4, cells=1)
    with pytest.raises(SpaceError, match="lack 'stem.0.weight'"):
        description.state_dict({})
