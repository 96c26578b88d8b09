from __future__ import annotations

import random

import numpy as np
import pytest

from nas_plugin.errors import ArchitectureError
from nas_plugin.space.encodings import nasbench101 as nb
from nas_plugin.space.encodings.nasbench101 import Graph

CONV1, CONV3, POOL = "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3"
#: The Inception-like cell of the benchmark's README, and the hash that its API gives.
INCEPTION = (
    [
        [0, 1, 1, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    ["input", CONV1, CONV3, CONV3, CONV3, POOL, "output"],
)
GOLDEN = "28cfc7874f6d200472e1a9dcd8650aa0"


def test_the_published_cell_has_the_published_hash():
    assert Graph(*INCEPTION).hash() == GOLDEN


def test_numpy_matrices_hash_the_same():
    matrix, ops = INCEPTION
    assert Graph(np.array(matrix, np.int8), np.array(ops)).hash() == GOLDEN


def test_relabelled_vertices_hash_the_same():
    matrix, ops = np.array(INCEPTION[0]), INCEPTION[1]
    order = [0, 5, 2, 3, 1, 4, 6]  # a topological order of the same graph
    moved = matrix[np.ix_(order, order)]
    assert Graph(moved, [ops[i] for i in order]).hash() == GOLDEN


def test_vertices_on_no_path_do_not_count():
    chain = Graph([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ["input", CONV3, "output"])
    loose = Graph(
        [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
        ["input", CONV3, POOL, "output"],
    )
    assert loose.prune() == chain and loose.hash() == chain.hash()


def test_a_graph_without_a_path_is_illegal_and_has_no_hash():
    graph = Graph([[0, 1, 0], [0, 0, 0], [0, 0, 0]], ["input", CONV3, "output"])
    assert not graph.is_legal()
    with pytest.raises(ArchitectureError, match="no path"):
        graph.hash()


def test_more_than_nine_edges_are_illegal():
    full = np.triu(np.ones((5, 5), int), 1)
    ops = ["input", CONV3, CONV3, CONV3, "output"]
    assert full.sum() == 10 and not Graph(full, ops).is_legal()
    full[0, 4] = 0
    assert Graph(full, ops).is_legal()


def test_graphs_and_architectures_convert_both_ways():
    architecture = nb.from_graph(Graph(*INCEPTION))
    assert nb.space().architecture(architecture) == architecture
    assert nb.to_graph(architecture) == Graph(*INCEPTION)


def test_sampled_architectures_keep_their_hash_through_a_graph():
    space, rng, tried = nb.space(), random.Random(0), 0
    for _ in range(200):
        graph = nb.to_graph(space.sample(rng))
        if graph.is_legal():
            tried += 1
            assert nb.to_graph(nb.from_graph(graph)).hash() == graph.hash()
    assert tried > 20


@pytest.mark.parametrize(
    ("matrix", "ops", "match"),
    [
        ([[0, 1]], ["input", "output"], "square"),
        ([[0, 0], [1, 0]], ["input", "output"], "above the diagonal"),
        ([[0, 2], [0, 0]], ["input", "output"], "only 0 and 1"),
        ([[0, 1], [0, 0]], ["output", "input"], "allowed are 'input' first"),
    ],
)
def test_malformed_graphs_are_refused(matrix, ops, match):
    with pytest.raises(ArchitectureError, match=match):
        Graph(matrix, ops)
