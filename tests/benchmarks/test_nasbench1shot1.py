from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from nas_plugin.errors import ArchitectureError, BenchmarkError


@pytest.mark.parametrize(("number", "error"), [(1, 5.4487), (2, 5.7792)])
def test_the_best_single_run_is_the_one_that_the_table_is_known_for(one_shot, number, error):
    runs = [one_shot[number].column(split="test", seed=run) for run in (1, 2, 3)]
    assert round(100 - float(np.max(runs)), 4) == error


@pytest.mark.parametrize("number", [1, 2])
def test_the_table_holds_what_the_enumeration_gives(one_shot, number):
    benchmark = one_shot[number]
    rows = {benchmark.architecture(row) for row in range(len(benchmark))}
    assert rows == set(benchmark.one_shot.without_loose_ends())


def test_every_row_is_found_again(one_shot):
    benchmark = one_shot[1]
    assert all(benchmark.index(benchmark.architecture(row)) == row for row in range(len(benchmark)))


def test_isomorphic_cells_have_equal_results(one_shot):
    benchmark = one_shot[1]
    values = {}
    graphs = [benchmark.one_shot.to_graph(benchmark.architecture(row)) for row in range(300)]
    for row, graph in enumerate(graphs):
        first = values.setdefault(graph.hash(), benchmark.query(row, split="test"))
        assert benchmark.query(row, split="test") == first
    assert len(values) < 300


def test_a_cell_outside_the_enumeration_is_illegal_or_isomorphic_to_a_row(one_shot):
    benchmark, rng = one_shot[1], random.Random(0)
    seen = {True: 0, False: 0}
    for cell in itertools.islice(iter(lambda: benchmark.space.sample(rng), None), 100):
        legal = benchmark.is_legal(cell)
        seen[legal] += 1
        if not legal:
            with pytest.raises(BenchmarkError, match="is_legal"):
                benchmark.query(cell)
    assert min(seen.values()) > 5


def test_there_is_no_time_in_these_tables(one_shot):
    with pytest.raises(BenchmarkError, match="budget in trials"):
        one_shot[1].cost(0)


def test_only_108_epochs_are_held(one_shot):
    assert one_shot[2].query(0) == one_shot[2].query(0, epochs=108)
    with pytest.raises(BenchmarkError, match="Allowed: 108"):
        one_shot[2].query(0, epochs=36)


def test_what_is_no_architecture_is_refused(one_shot):
    with pytest.raises(ArchitectureError):
        one_shot[1].index("node_1")
