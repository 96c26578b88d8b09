"""Operations on sentences do not see the padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.errors import OptionError
from nas_plugin.operations.text import (
    TextAttention,
    TextBatchNorm,
    TextConv,
    TextGRU,
    TextPool,
)

C, LENGTHS = 8, (5, 2, 4)


def sentences(length: int) -> tuple[Tensor, Tensor]:
    """Three sentences of LENGTHS words, padded to `length` with what must not matter."""
    x = torch.randn(3, C, 5, generator=torch.Generator().manual_seed(0))
    padded = torch.full((3, C, length), 7.0)
    padded[:, :, :5] = x
    mask = torch.arange(length) < torch.tensor(LENGTHS)[:, None]
    return torch.where(mask[:, None], padded, 0.0), mask


def make(name: str) -> nn.Module:
    torch.manual_seed(1)
    return {
        "conv": lambda: TextConv(C, C, 3),
        "avg": lambda: TextPool("avg"),
        "max": lambda: TextPool("max"),
        "gru": lambda: TextGRU(C),
        "attention": lambda: TextAttention(C, 2),
    }[name]()


@pytest.mark.parametrize("name", ["conv", "avg", "max", "gru", "attention"])
@pytest.mark.parametrize("training", [True, False])
def test_more_padding_changes_nothing(name: str, training: bool) -> None:
    op = make(name).train(training)
    short, mask = sentences(5)
    long, long_mask = sentences(9)

    out = op(short, mask)

    assert torch.allclose(op(long, long_mask)[:, :, :5], out, atol=1e-6)
    assert not out[~mask[:, None].expand_as(out)].any()


@pytest.mark.parametrize("name", ["avg", "max", "gru", "attention"])
def test_each_sentence_is_treated_as_if_it_were_alone(name: str) -> None:
    op = make(name).eval()
    x, mask = sentences(5)
    together = op(x, mask)

    for i, length in enumerate(LENGTHS):
        alone = op(x[i : i + 1, :, :length], mask[i : i + 1, :length])
        assert torch.allclose(together[i : i + 1, :, :length], alone, atol=1e-6)


def test_batch_norm_counts_words_only() -> None:
    x, mask = sentences(5)
    norm = TextBatchNorm(C)
    words = torch.cat([x[i, :, :n] for i, n in enumerate(LENGTHS)], dim=1)  # (C, words)

    out = norm(x, mask)

    first = (x[0, :, 0] - words.mean(1)) / (words.var(1, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(out[0, :, 0], first, atol=1e-5)
    assert torch.allclose(norm.norm.running_mean, 0.1 * words.mean(1), atol=1e-6)


def test_the_average_is_over_words_in_the_window() -> None:
    x, mask = sentences(5)
    out = TextPool("avg")(x, mask)

    assert torch.allclose(out[1, :, 1], (x[1, :, 0] + x[1, :, 1]) / 2, atol=1e-6)
    assert torch.allclose(out[0, :, 2], x[0, :, 1:4].mean(1), atol=1e-6)


def test_attention_equals_torch_where_its_projections_are_linear() -> None:
    op = make("attention").eval()
    # Positive inputs and weights: the ReLU on the projections is then the identity.
    with torch.no_grad():
        op.project.weight.abs_()
        op.project.bias.abs_()
    x = torch.rand(2, C, 6)
    mask = torch.ones(2, 6, dtype=torch.bool)
    twin = nn.MultiheadAttention(C, 2, batch_first=True).eval()
    with torch.no_grad():
        twin.in_proj_weight.copy_(op.project.weight)
        twin.in_proj_bias.copy_(op.project.bias)
        twin.out_proj.weight.copy_(torch.eye(C))
        twin.out_proj.bias.zero_()
    y = x.transpose(1, 2)
    expected = twin(y, y, y, need_weights=False)[0].transpose(1, 2)

    assert torch.allclose(op(x, mask), op.norm(expected, mask), atol=1e-5)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(OptionError, match="odd kernel"):
        TextConv(C, C, 2)
    with pytest.raises(OptionError, match="avg or max"):
        TextPool("sum")
    with pytest.raises(OptionError, match="heads"):
        TextAttention(C, 3)
