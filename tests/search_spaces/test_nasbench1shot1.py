"""The supernets of NAS-Bench-1Shot1 and 101 hold the benchmarks' cells."""

from __future__ import annotations

import copy
import itertools
from random import Random

import pytest
import torch

from nas_plugin import DartsMutator, RandomMutator, apply_fixed_architecture, search_space, spaces
from nas_plugin.mutators import SposMutator
from nas_plugin.space.encodings import nasbench101 as encoding101
from nas_plugin.space.encodings.nasbench1shot1 import OneShotSpace

#: Ways to fill all choices; 29,160 is the published size of space 2.
ASSIGNMENTS = {1: 14_580, 2: 29_160, 3: 1_312_200}
#: Different networks, without the nodes that lead nowhere.
NETWORKS = {1: 3_702, 2: 12_474, 3: 135_900}


def net(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return spaces.get(name)(channels=4, cells=1)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_space_has_the_published_choices(number: int) -> None:
    space = search_space(net(f"nasbench1shot1_{number}"))
    published = OneShotSpace(number).space()

    assert space.size == ASSIGNMENTS[number]
    assert published.size == NETWORKS[number]
    assert set(space) == set(published)
    for key, choice in published.items():
        assert (space[key].candidates, space[key].n_chosen) == (choice.candidates, choice.n_chosen)
    # What the model exports is what the benchmark looks up.
    rng = Random(0)
    for _ in range(20):
        architecture = published.architecture(space.sample(rng).to_json())
        assert OneShotSpace(number).to_graph(architecture).is_legal()


def test_all_assignments_of_space_1_are_its_3702_networks() -> None:
    space = search_space(net("nasbench1shot1_1"))
    published = OneShotSpace(1).space()
    keys = [key for key in space if key.startswith("parents")]
    ops = {f"op_node_{i}": "maxpool3x3" for i in range(1, 5)}
    wirings = {
        published.architecture({**ops, **dict(zip(keys, map(list, chosen), strict=True))})
        for chosen in itertools.product(*(space[key].values() for key in keys))
    }
    networks = sum(3 ** sum(key.startswith("op") for key in wiring) for wiring in wirings)

    assert networks == NETWORKS[1]


def test_the_space_of_nasbench101_has_the_choices_of_the_benchmark() -> None:
    space = search_space(net("nasbench101"))
    published = encoding101.space()

    assert set(space) == set(published)
    # Every subset of the 21 pairs of vertices, three operations on five.
    assert space.size == 2**21 * 3**5
    graph = encoding101.Graph(
        ((0, 1, 0, 1), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)),
        ("input", "conv3x3-bn-relu", "maxpool3x3", "output"),
    )
    chosen = {**space.first().to_json(), **encoding101.from_graph(graph).to_json()}
    found = encoding101.to_graph(published.architecture(published.architecture(chosen).to_json()))
    assert found.hash() == graph.hash()


@pytest.mark.parametrize(
    "name", ["nasbench101", "nasbench1shot1_1", "nasbench1shot1_2", "nasbench1shot1_3"]
)
def test_paths_run_and_compute_what_the_fixed_cell_computes(name: str) -> None:
    model = net(name)
    x = torch.randn(2, 3, 8, 8)
    mutator = (SposMutator if name == "nasbench101" else RandomMutator)(model, seed=1)
    for _ in range(10):
        mutator.reset()
        assert model(x).shape == (2, 10)
    architecture = mutator.export()
    model.eval()
    mutator.use(architecture)
    expected = model(x)
    fixed = apply_fixed_architecture(copy.deepcopy(model), architecture)
    assert torch.allclose(fixed(x), expected, atol=1e-6)


def test_a_vertex_without_parents_gives_nothing() -> None:
    model = net("nasbench101")
    mutator = RandomMutator(model)
    nothing = {key: [] for key in mutator.space if key.startswith("parents")}
    mutator.use({**mutator.space.first().to_json(), **nothing})

    out = model(torch.randn(2, 3, 8, 8))
    assert torch.equal(out, model.classifier.bias.expand(2, 10))  # type: ignore[union-attr,operator]


def test_logits_of_parents_and_operations_are_mixed() -> None:
    model = net("nasbench1shot1_2")
    mutator = DartsMutator(model)
    mutator.reset()
    model(torch.randn(4, 3, 8, 8)).square().sum().backward()
    grad = mutator.alphas.grad

    assert grad is not None
    several = mutator.valid.sum(dim=1) > 1
    assert bool((grad[several][mutator.valid[several]] != 0).all())
