"""Word vectors from a text file of GloVe's form."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor

from nas_plugin.data.vocabulary import PADDING, Vocabulary
from nas_plugin.errors import DataError, FileError, OptionError

MAX_LINE_BYTES = 2**16
#: Words without a vector are drawn uniformly from ±0.25, about the spread of the published vectors.
SPREAD = 0.25


def load_glove(
    path: str | os.PathLike[str], vocabulary: Vocabulary, size: int, *, seed: int = 0
) -> Tensor:
    """Returns the vectors of a vocabulary, ``(V, E)``.

    A line is a word and E numbers, separated by single spaces; the file may be packed by gzip. It
    is read line by line, and only the vectors of known words are kept. The padding's is zero.

    Args:
        path: The file, such as ``glove.6B.300d.txt``.
        vocabulary: The words wanted.
        size: E; another number of a line is an error.
        seed: Of the words that the file lacks.

    Raises:
        DataError: If a line is malformed; it names the line. Also if no word is known.
        FileError: If the file cannot be read.
    """
    if size < 1:
        raise OptionError(f"size must be a positive number of features, got {size}.")
    path = Path(path)
    table = torch.empty(len(vocabulary), size)
    table.uniform_(-SPREAD, SPREAD, generator=torch.Generator().manual_seed(seed))
    table[PADDING] = 0
    missing = {word for word in vocabulary.words if word in vocabulary}
    known = len(missing)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with cast(BinaryIO, opener(path, "rb")) as file:
            _fill(table, file, path, vocabulary, missing)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}. Check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} cannot be read: {error}. Check or replace the file.") from error
    if len(missing) == known:
        raise DataError(
            f"{path} holds no word of the vocabulary ({known} words). Check that it is the file "
            "you mean, and of the same case."
        )
    return table


def _fill(
    table: Tensor, file: BinaryIO, path: Path, vocabulary: Vocabulary, missing: set[str]
) -> None:
    """Writes the vectors of the words in `missing` into their rows, and removes the words."""
    size, number = table.shape[1], 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        where = f"{path}, line {number}"
        if len(line) == MAX_LINE_BYTES:
            raise DataError(f"{where} is longer than {MAX_LINE_BYTES} bytes, so no word vector.")
        try:
            # From the right: a few published words hold spaces themselves.
            word, *fields = line.decode("utf-8").rstrip("\r\n").rsplit(" ", size)
        except UnicodeDecodeError as error:
            raise DataError(f"{where} is not UTF-8 text. Save the file as UTF-8.") from error
        if len(fields) != size or (" " in word and _number(word.split(" ")[-1]) is not None):
            found = len(line.split()) - 1
            raise DataError(
                f"{where}: expected a word and {size} numbers, found {found} after the word. Give "
                "the size of the vectors in this file."
            )
        if word in missing:
            values = [_number(field) for field in fields]
            if any(value is None for value in values):
                raise DataError(f"{where}: the vector of '{word}' holds what is no finite number.")
            table[vocabulary[word]] = torch.tensor(values)
            missing.remove(word)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
