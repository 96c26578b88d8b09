"""Floating-point operations counted by hand: twice the multiply-adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.errors import NasError
from nas_plugin.profiling import count_flops, flops

N, L, I, H = 2, 7, 3, 5  # noqa: E741


class Calls(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


class LstmOfUnequalLengths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(I, H, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        lengths = torch.tensor([7, 4])
        return self.lstm(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))


def step(gates: int, width: int, state: int = H, out: int = H) -> int:
    """Multiply-adds of a step: the gates read the input and the state."""
    return gates * state * (width + out)


SENTENCES = (N, L, I)
RECURRENT: dict[str, tuple[nn.Module, int]] = {
    "lstm": (nn.LSTM(I, H, batch_first=True), N * L * step(4, I)),
    "gru": (nn.GRU(I, H, batch_first=True), N * L * step(3, I)),
    "rnn": (nn.RNN(I, H, batch_first=True), N * L * step(1, I)),
    "two layers": (nn.LSTM(I, H, 2, batch_first=True), N * L * (step(4, I) + step(4, H))),
    "two directions": (
        nn.LSTM(I, H, 2, batch_first=True, bidirectional=True),
        N * L * 2 * (step(4, I) + step(4, 2 * H)),
    ),
    "projection": (
        nn.LSTM(I, H, proj_size=2, batch_first=True),
        N * L * (step(4, I, out=2) + 2 * H),
    ),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name: str, device: str) -> None:
    layer, macs = RECURRENT[name]
    x = torch.randn(*SENTENCES, device=device)

    assert count_flops(layer.to_empty(device=device), x) == 2 * macs


def test_the_kernel_of_gpus_is_counted_from_its_weights() -> None:
    # Two layers, one direction: input and state matrices with biases.
    weights = [(4 * H, I), (4 * H, H), (4 * H,), (4 * H,), (4 * H, H), (4 * H, H), (4 * H,)]
    assert flops._rnn_layers((L, N, I), weights) == 2 * N * L * (step(4, I) + step(4, H))


def test_steps_that_are_padding_are_not_counted() -> None:
    assert count_flops(LstmOfUnequalLengths(), torch.randn(*SENTENCES)) == 2 * 11 * step(4, I)


E, HEADS, HIDDEN = 8, 2, 16
PROJECTIONS = N * L * 4 * E * E  # queries, keys, values, output
ATTENTION = N * L * L * 2 * E  # every head has a part of E
ENCODER = PROJECTIONS + ATTENTION + N * L * 2 * E * HIDDEN


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_attention_and_transformers(fast: bool, training: bool) -> None:
    x = torch.randn(N, L, E)
    attention = nn.MultiheadAttention(E, HEADS, batch_first=True).train(training)
    encoder = nn.TransformerEncoderLayer(E, HEADS, HIDDEN, batch_first=True).train(training)
    stack = nn.TransformerEncoder(encoder, 3).train(training)
    decoder = nn.TransformerDecoderLayer(E, HEADS, HIDDEN, batch_first=True)
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        assert count_flops(attention, x, x, x) == 2 * (PROJECTIONS + ATTENTION)
        assert count_flops(encoder, x) == 2 * ENCODER
        assert count_flops(stack, x) == 3 * 2 * ENCODER
        assert count_flops(decoder, x, x) == 2 * (ENCODER + PROJECTIONS + ATTENTION)
        assert torch.backends.mha.get_fastpath_enabled() == fast
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def r(*shape: int) -> Tensor:
    return torch.randn(*shape)


FUNCTIONS: dict[str, tuple[Any, tuple[Tensor, ...], int]] = {
    "mv": (torch.mv, (r(3, 4), r(4)), 3 * 4),
    "addmv": (torch.addmv, (r(3), r(3, 4), r(4)), 3 * 4),
    "dot": (torch.dot, (r(6), r(6)), 6),
    "bmm": (torch.bmm, (r(2, 3, 4), r(2, 4, 5)), 2 * 3 * 4 * 5),
    "addbmm": (torch.addbmm, (r(3, 5), r(2, 3, 4), r(2, 4, 5)), 2 * 3 * 4 * 5),
    "linear": (nn.functional.linear, (r(2, 6, 3), r(4, 3)), 2 * 6 * 3 * 4),
    "attention": (
        nn.functional.scaled_dot_product_attention,
        (r(2, 3, 7, 4), r(2, 3, 9, 4), r(2, 3, 9, 4)),
        2 * 3 * 7 * 9 * 4 * 2,
    ),
    "sum": (torch.add, (r(3), r(3)), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products(name: str) -> None:
    function, inputs, macs = FUNCTIONS[name]
    assert count_flops(Calls(function), *inputs) == 2 * macs


def test_what_cannot_be_counted_is_refused_by_name() -> None:
    with pytest.raises(NasError, match="kernel 'aten._trilinear'"):
        count_flops(nn.Bilinear(3, 4, 5), torch.randn(2, 3), torch.randn(2, 4))


@pytest.mark.parametrize(
    "layer", [nn.Upsample(scale_factor=2, mode="bilinear"), nn.PReLU(), nn.CELU(), nn.MaxPool2d(2)]
)
def test_layers_without_products_are_free(layer: nn.Module) -> None:
    assert count_flops(layer, torch.randn(1, 3, 4, 4)) == 0
