"""Sentences of a script: their flags, the data sets, and the network of the TextNAS space."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from nas_plugin.data import load_data, load_glove

#: Data sets without a validation file.
_HELD_OUT = ("trec", "mr")


def add_text_flags(parser: argparse.ArgumentParser, *, dropout: float) -> None:
    """Adds the flags of sentences and of the network's sizes, after `add_run_flags`.

    Args:
        parser: Gets the flags.
        dropout: The default in candidates and on embedded words.
    """
    text = parser.add_argument_group("sentences and sizes")
    add = text.add_argument
    add("--max-length", type=int, default=64, help="words per sentence; the rest is cut off")
    add("--min-count", type=int, default=1, help="rarer words are unknown")
    add("--glove", type=Path, help="text file of word vectors; without it they start at random")
    add("--embedding-size", type=int, default=300)
    add("--layers", type=int, default=24)
    add("--width", type=int, default=256)
    add("--heads", type=int, default=4, help="of the attention; they divide the width")
    add("--dropout", type=float, default=dropout)
    add("--embedding-dropout", type=float, default=dropout)


def load_sentences(args: argparse.Namespace, split: str) -> Any:
    """Returns a part of the data set that the flags name."""
    return load_data(
        args.data, split=split, root=args.data_dir, limit=args.limit, seed=args.seed,
        max_length=args.max_length, min_count=args.min_count,
        held_out=0.1 if args.data in _HELD_OUT else None,
    )  # fmt: skip


def text_network(
    builder: Callable[..., nn.Module], args: argparse.Namespace, train: Any
) -> nn.Module:
    """Returns what the builder of a space for sentences makes of flags and data."""
    embedding = None
    if args.glove is not None:
        embedding = load_glove(args.glove, train.vocabulary, args.embedding_size, seed=args.seed)
    return builder(
        vocabulary=len(train.vocabulary),
        embedding=embedding,
        embedding_size=args.embedding_size,
        width=args.width,
        layers=args.layers,
        classes=train.num_classes,
        heads=args.heads,
        dropout=args.dropout,
        embedding_dropout=args.embedding_dropout,
    )
