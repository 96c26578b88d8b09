"""Word vectors from a text file of GloVe's form."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from nas_plugin.data.vocabulary import PADDING, Vocabulary
from nas_plugin.errors import DataError, OptionError
from nas_plugin.files import read_lines

MAX_LINE_BYTES = 2**16
#: The largest published file unpacks to 5.6 GB.
MAX_BYTES = 16 * 2**30
_LARGEST = 1e30  # in single precision more could become infinite
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
        seed: Seed of the vectors that the file lacks.

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
    _fill(table, path, vocabulary, missing)
    if len(missing) == known:
        raise DataError(
            f"{path} holds no word of the vocabulary ({known} words). Check that it is the file "
            "you mean, and of the same case."
        )
    return table


def _fill(table: Tensor, path: Path, vocabulary: Vocabulary, missing: set[str]) -> None:
    """Writes the vectors of the words in `missing` into their rows, and removes the words."""
    size = table.shape[1]
    for number, line in read_lines(path, MAX_BYTES, MAX_LINE_BYTES):
        where = f"{path}, line {number}"
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
                raise DataError(
                    f"{where}: the vector of '{word}' holds a value that is not a finite number."
                )
            table[vocabulary[word]] = torch.tensor(values)
            missing.remove(word)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < _LARGEST else None
