"""Operations on sentences: N sequences of L positions with C features, and which are words.

All take ``x`` ``(N, C, L)`` and ``mask`` ``(N, L)`` bool, and give ``(N, C, L)`` with zeros where
`mask` is False, so that the length of the padding never matters while they evaluate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nas_plugin.errors import OptionError


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Sets what is not a word to zero."""
    return x * mask[:, None].to(x.dtype)


class TextBatchNorm(nn.Module):
    """Batch norm over words only: the padding enters no statistic.

    Shape:
        - Input, output: ``(N, C, L)``
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(c)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        words = x.transpose(1, 2)[mask]  # (words, C)
        out = x.new_zeros(x.shape[0], x.shape[2], x.shape[1])
        out[mask] = self.norm(words).to(x.dtype)
        return out.transpose(1, 2)


class TextConv(nn.Module):
    """Convolution, batch norm, ReLU, dropout.

    Args:
        c_in: Input features.
        c_out: Output features.
        kernel: Words that it sees, odd.
        dropout: Probability.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise OptionError(f"TextConv needs an odd kernel to keep the length, got {kernel}.")
        self.conv = nn.Conv1d(c_in, c_out, kernel, padding=kernel // 2)
        self.norm = TextBatchNorm(c_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.norm(self.conv(x), mask).relu())
        return out


class TextPool(nn.Module):
    """Average or maximum over a window of words; the padding counts as nothing.

    Args:
        kind: ``avg`` or ``max``.
        kernel: Words in the window, odd.
    """

    def __init__(self, kind: str, kernel: int = 3) -> None:
        super().__init__()
        if kind not in ("avg", "max") or kernel % 2 == 0:
            raise OptionError(
                f"TextPool takes avg or max and an odd kernel, got {kind!r} and {kernel}."
            )
        self.kind, self.kernel = kind, kernel

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        half = self.kernel // 2
        if self.kind == "max":
            hidden = x.masked_fill(~mask[:, None], torch.finfo(x.dtype).min)
            out = nn.functional.max_pool1d(hidden, self.kernel, 1, half)
        else:
            total = nn.functional.avg_pool1d(masked(x, mask), self.kernel, 1, half)
            share = nn.functional.avg_pool1d(mask[:, None].to(x.dtype), self.kernel, 1, half)
            out = total / share.clamp(min=1 / self.kernel)
        return masked(out, mask)


class TextGRU(nn.Module):
    """A bidirectional GRU, both directions summed.

    Args:
        c: Features in and out.
        dropout: Probability, on the output.
    """

    def __init__(self, c: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.gru = nn.GRU(c, c, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, c, length = x.shape
        # Packed: the backward direction starts at the last word, not in the padding.
        lengths = mask.sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(
            x.transpose(1, 2), lengths, batch_first=True, enforce_sorted=False
        )
        out, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=length)
        both = out.view(n, length, 2, c).sum(dim=2)
        return masked(self.dropout(both).transpose(1, 2), mask)


class TextAttention(nn.Module):
    """Multi-head self-attention over words, batch norm; ReLU on queries, keys and values.

    Args:
        c: Features in and out, a multiple of `heads`.
        heads: Attention heads.
        dropout: Probability, on the attention weights.
    """

    def __init__(self, c: int, heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        if c % heads:
            raise OptionError(f"TextAttention: {c} features do not divide into {heads} heads.")
        self.heads = heads
        self.project = nn.Linear(c, 3 * c)
        self.dropout = nn.Dropout(dropout)
        self.norm = TextBatchNorm(c)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, c, length = x.shape
        projected = self.project(x.transpose(1, 2)).relu()
        q, k, v = projected.view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(c // self.heads)  # (N, heads, L, L)
        scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        mixed = self.dropout(scores.softmax(dim=-1)) @ v
        out: Tensor = self.norm(mixed.permute(0, 1, 3, 2).reshape(n, c, length), mask)
        return out
