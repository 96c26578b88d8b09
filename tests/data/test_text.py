"""Sentences are read line by line; vocabulary and parts never mix what must be apart."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from nas_plugin.data import TextDataset, load_data, make_loader, standard_augment
from nas_plugin.data.text import read_sentences
from nas_plugin.errors import DataError, FileError, NasError, OptionError

SST2 = {
    "train": "1 a Fine film\n0 a dull film\n",
    "dev": "1 fine and new\n",
    "test": "0 dull\n1 fine film , unseen\n0 a a a a a\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for end, content in SST2.items():
        (folder / f"stsa.binary.{end}.gz").write_bytes(gzip.compress(content.encode()))
    lines = [f"{i % 2} word{i} film" for i in range(40)]
    (folder / "rt-polarity.all").write_text("\n".join(lines))
    (folder / "TREC.train.all").write_text("\n".join(f"{i % 6} what{i} ?" for i in range(30)))
    (folder / "TREC.test.all").write_text("5 how many ?\n")
    return tmp_path


def test_a_split_is_numbers_of_the_training_parts_words(root: Path) -> None:
    parts = {
        s: load_data("sst2", split=s, root=root, max_length=4) for s in ("train", "valid", "test")
    }

    # a and film twice, dull and fine once: 2, 3, 4, 5.
    assert parts["train"].inputs.tolist() == [[2, 5, 3, 0], [2, 4, 3, 0]]
    assert parts["train"].targets.tolist() == [1, 0]
    assert parts["valid"].inputs.tolist() == [[5, 1, 1, 0]]
    assert parts["test"].inputs.tolist() == [[4, 0, 0, 0], [5, 3, 1, 1], [2, 2, 2, 2]]
    assert {len(part.vocabulary) for part in parts.values()} == {6}
    assert {part.num_classes for part in parts.values()} == {2}


def test_case_and_rare_words_may_count(root: Path) -> None:
    cased = load_data("sst2", root=root, lower=False)
    assert "Fine" in cased.vocabulary and "fine" not in cased.vocabulary
    assert len(load_data("sst2", root=root, min_count=2).vocabulary) == 4
    assert len(load_data("sst2", root=root, max_size=1).vocabulary) == 3


def test_a_loader_serves_them_as_they_are(root: Path) -> None:
    data = load_data("mr", root=root, limit=9)
    assert standard_augment(data, train=True) is None
    inputs, targets = next(make_loader(data, batch_size=4, seed=0).batches(0))
    assert isinstance(data, TextDataset) and len(data) == 9
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.shape == (4, 64)


def test_ten_folds_cover_the_single_file_once(root: Path) -> None:
    words: list[str] = []
    for fold in range(10):
        train = load_data("mr", root=root, fold=fold)
        known = set(train.vocabulary.words)
        test = load_data("mr", root=root, split="test", fold=fold)
        assert (len(train), len(test)) == (36, 4)
        assert test.targets.tolist().count(0) == 2
        # Every sentence has a word of its own, which is unknown in its test part.
        assert test.inputs[:, 0].tolist() == [1] * 4
        words += [f"word{i}" for i in range(40) if f"word{i}" not in known]
    assert sorted(words) == sorted(f"word{i}" for i in range(40))


def test_a_validation_part_is_held_out_of_training_where_there_is_no_file(root: Path) -> None:
    train = load_data("trec", root=root, held_out=0.2)
    valid = load_data("trec", root=root, split="valid", held_out=0.2)

    assert (len(load_data("trec", root=root)), len(train), len(valid)) == (30, 24, 6)
    assert valid.targets.bincount().tolist() == [1] * 6
    assert valid.inputs[:, 0].tolist() == [1] * 6


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sst2", {"split": "dev"}, "must be train or valid or test"),
        ("sst2", {"max_length": 0}, "max_length"),
        ("sst2", {"held_out": 0.1}, "has a validation file"),
        ("sst2", {"fold": 1}, "it has no fold"),
        ("trec", {"split": "valid"}, "no file of its own.*held_out=0.1"),
        ("trec", {"held_out": 1.0}, "between 0 and 1"),
        ("trec", {"held_out": 1e-9}, "leaves a part of 'trec' empty"),
        ("mr", {"fold": 10}, "fold must be 0 to 9"),
    ],
)
def test_wrong_options_are_named(
    root: Path, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        load_data(name, root=root, **options)  # type: ignore[arg-type]


def test_missing_files_are_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"'sst5' was not found.*stsa.fine.train.gz"):
        load_data("sst5", root=root)
    (root / "text" / "stsa.binary.dev.gz").unlink()
    with pytest.raises(FileError, match=r"no file .*stsa.binary.dev"):
        load_data("sst2", root=root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 good\n\n7 bad\n", "line 3: expected a class from 0 to 1 and words, found '7 bad'"),
        (b"good film\n", "line 1: .*found 'good film'"),
        (b"1\n", "line 1"),
        ("² good\n".encode(), "line 1"),
        (b"-1 good\n", "line 1"),
        (b"\n \n", "holds no sentence"),
        (b"1 caf\xe9\n", "not UTF-8"),
    ],
)
def test_lines_of_another_form_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "sentences"
    file.write_bytes(content)
    with pytest.raises(NasError, match=message):
        read_sentences(file, 2)


def test_only_line_ends_end_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "sentences"
    file.write_bytes("1 a\x0bb\u2028c\r\n0 d".encode())
    assert read_sentences(file, 2) == [(["a", "b", "c"], 1), (["d"], 0)]


@pytest.mark.parametrize(
    ("name", "counts", "classes"),
    [
        ("sst5", {"train": 8544, "valid": 1101, "test": 2210}, 5),
        ("sst2", {"train": 6920, "valid": 872, "test": 1821}, 2),
        ("trec", {"train": 5452, "test": 500}, 6),
        ("mr", {"train": 9596, "test": 1066}, 2),
    ],
)
def test_the_published_sets_have_their_published_sizes(
    shared_data: Path, name: str, counts: dict[str, int], classes: int
) -> None:
    for split, count in counts.items():
        part = load_data(name, split=split, root=shared_data)
        assert len(part) == count
        assert part.num_classes == classes == len(part.targets.unique())


def test_mr_has_as_many_positive_as_negative_sentences(shared_data: Path) -> None:
    train, test = (load_data("mr", split=s, root=shared_data) for s in ("train", "test"))
    both = train.targets.bincount() + test.targets.bincount()
    assert both.tolist() == [5331, 5331]
