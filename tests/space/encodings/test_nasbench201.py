from __future__ import annotations

import itertools

import pytest

from nas_plugin.errors import ArchitectureError
from nas_plugin.space.encodings import nasbench201 as nb

TEXT = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"


@pytest.fixture(scope="module")
def cells():
    return [nb.from_ops(ops) for ops in itertools.product(nb.OPS, repeat=6)]


def test_strings_and_architectures_convert_both_ways():
    architecture = nb.from_string(TEXT)
    assert nb.to_string(architecture) == TEXT
    assert architecture["edge_2_1"] == "avg_pool_3x3"
    assert nb.space().architecture(architecture) == architecture


def test_the_space_has_15625_cells(cells):
    assert nb.space().size == 15_625 == len(set(cells))


def test_unique_cells_are_those_of_the_paper(cells):
    assert len({nb.unique_string(cell, fold_zeros=False) for cell in cells}) == 12_751
    assert len({nb.unique_string(cell) for cell in cells}) == 6_466


def test_15284_cells_are_connected(cells):
    assert sum(map(nb.is_connected, cells)) == 15_284


def test_spellings_of_one_network_are_found_equal():
    # A skip connection from input to node 1 makes the two sources of the convolution one.
    through = nb.from_string(
        "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|"
    )
    direct = nb.from_string(
        "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|"
    )
    other = nb.from_string(
        "|skip_connect~0|+|avg_pool_3x3~0|none~1|+|none~0|none~1|skip_connect~2|"
    )
    assert through != direct and nb.isomorphic(through, direct)
    assert not nb.isomorphic(through, other)


@pytest.mark.parametrize("text", ["", "nonsense", TEXT[:-1], TEXT + "x", TEXT.replace("~2", "~1")])
def test_malformed_strings_are_refused_with_the_form(text):
    with pytest.raises(ArchitectureError, match="Its form is"):
        nb.from_string(text)


def test_an_unknown_operation_is_refused_with_the_allowed_ones():
    with pytest.raises(ArchitectureError, match="Allowed: none, skip_connect"):
        nb.from_string(TEXT.replace("none", "conv_7x7"))


def test_an_architecture_of_another_space_is_refused():
    with pytest.raises(ArchitectureError, match="edge_1_0"):
        nb.to_string({"other": "none"})
