"""The NAS-Bench-201 network has the benchmark's parameters and FLOPs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas_plugin import search_space
from nas_plugin.errors import ArchitectureError
from nas_plugin.profiling import count_flops, count_params
from nas_plugin.space.encodings import nasbench201 as encoding
from search_spaces.nasbench201 import child, nasbench201


def test_the_supernet_has_the_space_of_the_benchmark() -> None:
    assert search_space(nasbench201(channels=4, cells=1)) == encoding.space()


def test_children_have_the_parameters_and_flops_of_the_table(shared_data: Path) -> None:
    table = np.load(shared_data / "nasbench201" / "nasbench201.npz")
    for index in (0, 11, 857, 6111, 9930, 15624):
        ops = [encoding.OPS[encoding.OPS.index(str(table["op_names"][i]))]
               for i in table["ops"][index]]  # fmt: skip
        with torch.device("meta"):
            net = child(encoding.to_string(encoding.from_ops(ops)))
            flops = count_flops(net, torch.zeros(1, 3, 32, 32))
        assert count_params(net) == table["params_cifar10"][index]
        # The table counts batch norm and pooling as well, which a counter of products does not.
        assert 0.9 < flops / 2e6 / float(table["flops_cifar10"][index]) <= 1.0


def test_a_child_is_made_from_a_string_or_an_architecture() -> None:
    text = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    torch.manual_seed(0)
    first = child(text, channels=4, cells=1)
    torch.manual_seed(0)
    second = child(encoding.from_string(text).to_json(), channels=4, cells=1)
    x = torch.randn(2, 3, 8, 8)

    assert torch.equal(first.eval()(x), second.eval()(x))


def test_a_cell_computes_what_its_string_says() -> None:
    text = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
    cell = child(text, channels=4, cells=1).eval().cells[0]
    x = torch.randn(2, 4, 6, 6)
    one = cell.edges["edge_1_0"](x)
    two = x
    pooled = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    expected = pooled + cell.edges["edge_3_1"](one) + two

    assert torch.allclose(cell(x), expected, atol=1e-6)


def test_a_string_of_another_form_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="NAS-Bench-201 string"):
        child("|conv~0|")
