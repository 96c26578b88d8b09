"""Word vectors are read line by line; a line of another form is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from nas_plugin.data import Vocabulary, load_glove
from nas_plugin.errors import FileError, NasError, OptionError

VOCABULARY = Vocabulary(["film", "rare", "dull"])
CONTENT = "the 9 9 9\nfilm 0.5 -1e-1 2\n. . . 4 5 6\ndull 1 2 3\n"


@pytest.mark.parametrize("packed", [False, True])
def test_known_words_get_their_vectors_and_others_are_drawn(tmp_path: Path, packed: bool) -> None:
    file = tmp_path / ("glove.txt.gz" if packed else "glove.txt")
    file.write_bytes(gzip.compress(CONTENT.encode()) if packed else CONTENT.encode())

    table = load_glove(file, VOCABULARY, 3)
    assert table.shape == (5, 3)
    assert table[0].tolist() == [0, 0, 0]
    assert torch.allclose(table[VOCABULARY["film"]], torch.tensor([0.5, -0.1, 2.0]))
    assert table[VOCABULARY["dull"]].tolist() == [1, 2, 3]
    assert torch.equal(table, load_glove(file, VOCABULARY, 3))
    other = load_glove(file, VOCABULARY, 3, seed=1)
    drawn = [1, VOCABULARY["rare"]]
    assert bool((table[drawn] != other[drawn]).all()) and float(table[drawn].abs().max()) <= 0.25
    assert torch.equal(table[VOCABULARY["film"]], other[VOCABULARY["film"]])


def test_the_first_of_equal_words_counts(tmp_path: Path) -> None:
    file = tmp_path / "glove.txt"
    file.write_text("film 1 2\nfilm 3 4\n")
    assert load_glove(file, VOCABULARY, 2)[VOCABULARY["film"]].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the 1 2 3\nfilm 1 2\n", "line 2: expected a word and 3 numbers, found 2"),
        (b"film 1 2 3 4\n", "line 1: expected a word and 3 numbers, found 4"),
        (b"film 1 x 3\n", "line 1: the vector of 'film'"),
        (b"film 1 nan 3\n", "not a finite number"),
        (b"film 1 1e999 3\n", "not a finite number"),
        (b"the 1 2 3\n\xff 1 2 3\n", "line 2 is not UTF-8"),
        (b"the 1 2 3\n" + b"x" * 70_000, "line 2 is longer than"),
        (b"the 1 2 3\n", "holds no word of the vocabulary"),
        (b"", "holds no word"),
        (b"\n", "line 1"),
    ],
)
def test_lines_of_another_form_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "glove.txt"
    file.write_bytes(content)
    with pytest.raises(NasError, match=message):
        load_glove(file, VOCABULARY, 3)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no file .*none.txt"):
        load_glove(tmp_path / "none.txt", VOCABULARY, 3)
    broken = tmp_path / "glove.txt.gz"
    broken.write_bytes(gzip.compress(CONTENT.encode())[:-9])
    with pytest.raises(NasError, match="cannot be read"):
        load_glove(broken, VOCABULARY, 3)
    with pytest.raises(OptionError, match="size"):
        load_glove(broken, VOCABULARY, 0)
