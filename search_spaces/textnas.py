"""The space of TextNAS: layers over a sentence, each with its input, operation and skips.

Wang et al. 2020, https://arxiv.org/abs/1912.10729
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice, MutableScope
from nas_plugin.errors import OptionError
from nas_plugin.operations.text import (
    TextAttention,
    TextBatchNorm,
    TextConv,
    TextGRU,
    TextPool,
    masked,
)


def textnas(
    *,
    vocabulary: int,
    embedding: Tensor | None = None,
    embedding_size: int = 300,
    width: int = 256,
    layers: int = 24,
    classes: int = 2,
    inputs: int = 5,
    heads: int = 4,
    dropout: float = 0.5,
    embedding_dropout: float = 0.5,
) -> TextNet:
    """Returns the supernet; an architecture is fixed to it and trained with the same function.

    Args:
        vocabulary: Number of tokens; token 0 is padding.
        embedding: ``(vocabulary, E)``, where the embedding starts; it is trained on.
        embedding_size: E, where the embedding starts at random.
        width: Features of every layer.
        layers: Layers; the paper has 24.
        classes: Outputs.
        inputs: Layers back that a layer may take its input from.
        heads: Of the attention.
        dropout: In the candidates.
        embedding_dropout: On the embedded words.
    """
    return TextNet(
        vocabulary, embedding, embedding_size, width, layers, classes, inputs, heads, dropout,
        embedding_dropout,
    )  # fmt: skip


class TextNet(nn.Module):
    """Embeds words, runs the layers, and classifies the mean over words of all layers' sum.

    Shape:
        - Input: ``(N, L)`` token ids, 0 where a sentence has ended
        - Output: ``(N, classes)``

    Raises:
        OptionError: If a size is not allowed.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: Tensor | None,
        embedding_size: int,
        width: int,
        layers: int,
        classes: int,
        inputs: int,
        heads: int,
        dropout: float,
        embedding_dropout: float,
    ) -> None:
        super().__init__()
        if min(vocabulary - 1, embedding_size, width, layers, classes, inputs) < 1:
            raise OptionError(
                "textnas needs positive sizes and a vocabulary of at least 2, got "
                f"{vocabulary}, {embedding_size}, {width}, {layers}, {classes}, {inputs}."
            )
        if embedding is not None and (embedding.dim() != 2 or len(embedding) != vocabulary):
            raise OptionError(
                f"The embedding must have the shape ({vocabulary}, E), one row a token, got "
                f"{tuple(embedding.shape)}."
            )
        size = embedding_size if embedding is None else embedding.shape[1]
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=0)
        if embedding is not None:
            with torch.no_grad():
                self.embedding.weight.copy_(embedding)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.stem = TextConv(size, width, 1, dropout)
        self.layers = nn.ModuleList(
            TextLayer(i, width, inputs, heads, dropout) for i in range(layers)
        )
        self.shares = nn.Parameter(torch.zeros(layers + 1))
        self.classifier = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        # What is padding in the whole batch costs nothing.
        mask = ids != 0
        length = max(1, int(mask.any(dim=0).sum()))
        ids, mask = ids[:, :length], mask[:, :length]
        x = self.embedding_dropout(self.embedding(ids)).transpose(1, 2)  # (N, E, L)
        outs = [self.stem(x, mask)]
        for layer in self.layers:
            outs.append(layer(outs, mask))
        shares = self.shares.softmax(dim=0)
        total = torch.stack([share * out for share, out in zip(shares, outs, strict=True)]).sum(0)
        words = mask.sum(dim=1, keepdim=True).clamp(min=1)
        logits: Tensor = self.classifier(masked(total, mask).sum(dim=2) / words)
        return logits


class TextLayer(MutableScope):
    """Layer i: one of the last layers as input, one operation, any earlier layers added.

    Blocks are constructed in the order of NNI's model, so that its files with counters load.
    """

    def __init__(self, i: int, width: int, inputs: int, heads: int, dropout: float) -> None:
        super().__init__(f"layer_{i}")
        earlier = [f"layer_{j}" for j in range(i)]
        self.input: nn.Module | None = None
        self.skip: nn.Module | None = None
        if earlier:
            self.input = InputChoice(choose_from=earlier[-inputs:], n_chosen=1)
        self.op = LayerChoice(candidates(width, heads, dropout))
        if earlier:
            self.skip = InputChoice(choose_from=earlier)
        self.norm = TextBatchNorm(width)
        self._reach = min(i, inputs)

    def forward(self, outs: list[Tensor], mask: Tensor) -> Tensor:
        """Maps the outputs of the stem and all earlier layers to this layer's."""
        x = outs[-1] if self.input is None else self.input(outs[-self._reach :])
        out = self.op(x, mask)
        added = None if self.skip is None else self.skip(outs[1:])
        if added is not None:
            out = out + added
        normed: Tensor = self.norm(out, mask)
        return normed


def candidates(width: int, heads: int, dropout: float) -> dict[str, nn.Module]:
    """Returns the eight operations, in the order of NNI's files."""
    return {
        "conv1": TextConv(width, width, 1, dropout),
        "conv3": TextConv(width, width, 3, dropout),
        "conv5": TextConv(width, width, 5, dropout),
        "conv7": TextConv(width, width, 7, dropout),
        "avgpool": TextPool("avg"),
        "maxpool": TextPool("max"),
        "gru": TextGRU(width, dropout),
        "attention": TextAttention(width, heads, dropout),
    }
