from __future__ import annotations

import itertools

import pytest

from nas_plugin.errors import ArchitectureError
from nas_plugin.space.encodings.nasbench1shot1 import (
    OPS,
    PUBLISHED_ENUMERATIONS,
    PUBLISHED_SIZES,
    OneShotSpace,
)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_enumeration_without_loose_ends_has_the_published_size(number):
    cells = list(OneShotSpace(number).without_loose_ends())
    assert len(cells) == len(set(cells)) == PUBLISHED_ENUMERATIONS[number]


def test_the_constants_are_those_of_the_paper():
    assert PUBLISHED_ENUMERATIONS == {1: 2_487, 2: 3_609, 3: 24_066}
    assert PUBLISHED_SIZES == {1: 6_240, 2: 29_160, 3: 363_648}
    assert OneShotSpace(2).assignments == PUBLISHED_SIZES[2]


@pytest.mark.parametrize(("number", "size"), [(1, 3_702), (2, 12_474), (3, 135_900)])
def test_the_space_counts_every_network_once(number, size):
    """Against a count over all parents: what is reached from the output is what counts."""
    space = OneShotSpace(number)
    output = len(space.n_parents)
    wirings = set()
    choices = [itertools.combinations(range(v), k) for v, k in enumerate(space.n_parents, 1)]
    for parents in itertools.product(*choices):
        used, waiting = {output}, [output]
        while waiting:
            for u in parents[waiting.pop() - 1]:
                if u and u not in used:
                    used.add(u)
                    waiting.append(u)
        wirings.add(tuple((v, parents[v - 1]) for v in sorted(used)))
    assert sum(3 ** (len(wiring) - 1) for wiring in wirings) == size == space.space().size


@pytest.mark.parametrize("number", [1, 2, 3])
def test_cells_are_legal_architectures_and_graphs(number):
    one_shot = OneShotSpace(number)
    space = one_shot.space()
    for cell in itertools.islice(one_shot.without_loose_ends(), 0, None, 397):
        assert space.architecture(cell) == cell
        graph = one_shot.to_graph(cell)
        assert graph.is_legal() and one_shot.from_graph(graph) == cell


def test_logits_give_the_best_operation_and_the_best_parents():
    ops = [[0.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 0.0], [0.0, 0.0, 1.0]]
    cell = OneShotSpace(1).from_logits(
        ops,
        {"node_3": [0.1, 0.9, 0.5], "node_4": [0.3, 0.0, 0.1, 0.9], "output": [0, 9, 0, 1, 8]},
    )
    assert dict(cell) == {
        "parents_output": ("node_1", "node_4"),
        "parents_node_4": ("input", "node_3"),
        "parents_node_3": ("node_1", "node_2"),
        "parents_node_2": ("input", "node_1"),
        "parents_node_1": ("input",),
        "op_node_1": OPS[2],
        "op_node_2": OPS[0],
        "op_node_3": OPS[1],
        "op_node_4": OPS[2],
    }


def test_a_node_that_leads_nowhere_is_dropped_from_the_cell():
    cell = OneShotSpace(2).from_logits(
        [[1.0, 0.0, 0.0]] * 4,
        {"node_2": [1, 0], "node_3": [9, 1, 0], "node_4": [1, 0, 0, 9], "output": [9, 8, 7, 0, 0]},
    )
    assert set(cell) == {
        "parents_output",
        "parents_node_1",
        "op_node_1",
        "parents_node_2",
        "op_node_2",
    }


def test_wrong_logits_are_refused_with_what_is_needed():
    with pytest.raises(ArchitectureError, match="4 rows of 3"):
        OneShotSpace(1).from_logits([[0.0] * 3], {})
    with pytest.raises(ArchitectureError, match="'node_3' needs 3 input logits"):
        OneShotSpace(1).from_logits([[0.0] * 3] * 4, {"node_4": [0.0] * 4})
    with pytest.raises(ArchitectureError, match="not 4"):
        OneShotSpace(4)
