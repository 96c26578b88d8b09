"""What reads what in the ready spaces, seen from outside the modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin import apply_fixed_architecture
from nas_plugin.mutators import RandomMutator
from search_spaces.darts import darts_retrain
from search_spaces.enas import MacroLayer, MicroNode, enas_macro, enas_micro
from search_spaces.proxylessnas import candidates
from search_spaces.textnas import TextLayer


def zeroed(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module.eval()


@pytest.mark.parametrize("x", [0, 1, 2])
@pytest.mark.parametrize("y", [0, 1, 2])
def test_a_micro_node_adds_both_its_inputs(x: int, y: int) -> None:
    key = "normal_node_3"
    architecture = {
        f"{key}/x_input": [f"normal_node_{x}"],
        f"{key}/x_op": "identity",
        f"{key}/y_input": [f"normal_node_{y}"],
        f"{key}/y_op": "identity",
    }
    node = apply_fixed_architecture(MicroNode("normal", 3, 2), architecture)
    states = [torch.full((1, 2, 3, 3), 10.0**i) for i in range(3)]
    out, read = node(states)

    assert torch.equal(out, states[x] + states[y])
    assert read.tolist() == [i in (x, y) for i in range(3)]


@pytest.mark.parametrize("layers", [3, 6, 8, 9])
def test_the_auxiliary_head_reads_the_second_reduction_cell(layers: int) -> None:
    net = darts_retrain(channels=4, layers=layers, nodes=2, classes=3).train()
    RandomMutator(net).reset()
    read_by_head, outs = [], []
    assert net.auxiliary is not None
    net.auxiliary.register_forward_pre_hook(lambda _, args: read_by_head.append(args[0]))
    for cell in net.cells:
        cell.register_forward_hook(lambda *args: outs.append(args[2]))
    net(torch.randn(2, 3, 32, 32))
    widths = [out.shape[-1] for out in outs]

    assert read_by_head[0] is outs[widths.index(8)]


def test_the_auxiliary_head_of_enas_reads_the_second_reduction_cell() -> None:
    net = enas_micro(channels=4, layers=6, nodes=2, classes=3, auxiliary=True).train()
    read_by_head, outs = [], []
    assert net.auxiliary is not None
    net.auxiliary.register_forward_pre_hook(lambda _, args: read_by_head.append(args[0]))
    for cell in net.cells:
        cell.register_forward_hook(lambda *args: outs.append(args[2]))
    RandomMutator(net).reset()
    logits, extra = net(torch.randn(2, 3, 32, 32))

    assert read_by_head[0] is outs[[out.shape[-1] for out in outs].index(8)]
    assert logits.shape == extra.shape == (2, 3)
    assert isinstance(net.eval()(torch.randn(2, 3, 32, 32)), Tensor)


def test_a_proxyless_block_that_keeps_the_shape_is_a_residual() -> None:
    x = torch.randn(2, 4, 6, 6)
    for name, block in candidates(4, 4, 1, skip=True).items():
        assert torch.equal(zeroed(block)(x), x), name
    for c_out, stride in ((8, 1), (4, 2)):
        found = candidates(4, c_out, stride, skip=True)
        assert "skip" not in found
        for name, block in found.items():
            assert not zeroed(block)(x).any(), name
            assert block(x).shape[1:] == (c_out, 6 // stride, 6 // stride)


@pytest.mark.parametrize("skip", [["layer_0"], ["layer_1"], ["layer_2"], ["layer_0", "layer_2"]])
@pytest.mark.parametrize("source", ["layer_1", "layer_2"])
def test_a_text_layer_reads_the_layers_that_it_names(skip: list[str], source: str) -> None:
    layer = TextLayer(3, width=4, inputs=2, heads=2, dropout=0.0)
    RandomMutator(layer).use(
        {"layer_3/input": [source], "layer_3/op": "maxpool", "layer_3/skip": skip}
    )
    seen: dict[str, Tensor] = {}
    layer.op.register_forward_hook(lambda _, args, out: seen.update(read=args[0], op=out))
    layer.norm.register_forward_pre_hook(lambda _, args: seen.update(joined=args[0]))
    # The stem, then layers 0 to 2.
    outs = [torch.full((1, 4, 5), value) for value in (1000.0, 1.0, 10.0, 100.0)]
    layer(outs, torch.ones(1, 5, dtype=torch.bool))

    by_name = dict(zip(("layer_0", "layer_1", "layer_2"), outs[1:], strict=True))
    assert torch.equal(seen["read"], by_name[source])
    assert torch.equal(seen["joined"] - seen["op"], sum(by_name[name] for name in skip))


@pytest.mark.parametrize("skip", [[], ["layer_0"], ["layer_0", "layer_2"]])
def test_a_macro_layer_adds_the_layers_that_it_names(skip: list[str]) -> None:
    layer = MacroLayer(3, 2)
    RandomMutator(layer).use({"layer_3/op": "maxpool", "layer_3/skip": skip})
    seen: dict[str, Tensor] = {}
    layer.op.register_forward_hook(lambda _, args, out: seen.update(op=out))
    layer.norm.register_forward_pre_hook(lambda _, args: seen.update(joined=args[0]))
    outs = [torch.full((1, 2, 4, 4), 10.0**i) for i in range(3)]
    layer(torch.randn(1, 2, 4, 4), outs)
    expected = torch.full((1, 2, 4, 4), float(sum(10 ** int(name[-1]) for name in skip)))

    torch.testing.assert_close(seen["joined"] - seen["op"], expected)


def test_a_macro_network_halves_what_all_layers_gave_at_each_third() -> None:
    net = enas_macro(channels=4, layers=6, classes=3).eval()
    widths: list[list[int]] = []
    for layer in net.layers:
        layer.register_forward_pre_hook(
            lambda _, args: widths.append([args[0].shape[-1], *(o.shape[-1] for o in args[1])])
        )
    RandomMutator(net).reset()
    net(torch.randn(1, 3, 16, 16))

    sizes = [16, 16, 8, 8, 4, 4]
    assert widths == [[size] * (i + 1) for i, size in enumerate(sizes)]
