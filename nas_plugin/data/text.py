"""Sentences and their classes: SST-5, SST-2, TREC, MR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas_plugin.data.dataset import ArrayDataset, data_sets, find_folder
from nas_plugin.data.split import split_indices
from nas_plugin.data.vocabulary import Vocabulary
from nas_plugin.errors import DataError, OptionError
from nas_plugin.files import read_text

FOLDS = 10
#: A sentence's words and its class.
Sentence = tuple[list[str], int]


class TextDataset(ArrayDataset):
    """Sentences as numbers of words, ``(N, max_length)`` int64, 0 where they have ended.

    Attributes:
        vocabulary: What the numbers stand for.
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, vocabulary: Vocabulary, *, classes: int, name: str
    ) -> None:
        super().__init__(inputs, targets, name=name)
        self.vocabulary = vocabulary
        self.num_classes = self._classes = classes

    def subset(self, indices: Tensor) -> TextDataset:
        """Returns some of the samples; vocabulary and number of classes stay."""
        return TextDataset(
            self.inputs[indices],
            self.targets[indices],
            self.vocabulary,
            classes=self._classes,
            name=self.name,
        )


@dataclass(frozen=True)
class TextReader:
    """Reads a data set of lines ``label words…``, UTF-8, packed by gzip or not.

    Where there is one file only, `FOLDS` stratified folds, always the same, are made of it: `fold`
    is the test part. Where there is no validation file, the share `held_out` of the training part
    is, stratified and always the same.

    Args:
        name: Name of the data set.
        classes: Their number.
        files: Split → file, without ``.gz``; ``all`` for a single file.
    """

    name: str
    classes: int
    files: dict[str, str]

    splits = ("train", "valid", "test")

    def __call__(
        self,
        *,
        root: Path | None,
        split: str,
        max_length: int = 64,
        min_count: int = 1,
        max_size: int | None = None,
        lower: bool = True,
        held_out: float | None = None,
        fold: int | None = None,
    ) -> TextDataset:
        """Returns a split; the vocabulary is that of the training part.

        Args:
            root: The folder of the files, or one above it.
            split: ``train``, ``valid`` or ``test``.
            max_length: Words of a sentence; what is longer is cut.
            min_count: Words that are rarer in the training part are unknown.
            max_size: Known words at most, the most frequent ones.
            lower: Make all words lower case.
            held_out: Share of the training part that is the validation part, where there is no
                file of it; None holds nothing out.
            fold: Which of the folds is the test part, where there is one file only; None is 0.

        Raises:
            OptionError: If an argument is not allowed.
            DataError: If a file is missing or malformed.
        """
        if max_length < 1:
            raise OptionError(f"max_length must be a positive number of words, got {max_length}.")
        parts = self._parts(root, fold, lower)
        if held_out is not None:
            parts |= self._held_out(parts, held_out)
        if split not in parts:
            raise OptionError(
                f"The data set '{self.name}' has no file of its own for validation. Give held_out, "
                "the share of the training part to use, for both splits (held_out=0.1)."
            )
        vocabulary = Vocabulary.of(
            (words for words, _ in parts["train"]), min_count=min_count, max_size=max_size
        )
        rows = [vocabulary.encode(words, max_length) for words, _ in parts[split]]
        return TextDataset(
            torch.tensor(rows),
            torch.tensor([label for _, label in parts[split]]),
            vocabulary,
            classes=self.classes,
            name=self.name,
        )

    def _parts(self, root: Path | None, fold: int | None, lower: bool) -> dict[str, list[Sentence]]:
        first = next(iter(self.files.values()))
        folder = find_folder(root, ("text", self.name), (first, f"{first}.gz"), self.name)
        parts = {
            split: read_sentences(_either(folder, file), self.classes, lower=lower)
            for split, file in self.files.items()
        }
        if "all" not in parts:
            if fold is not None:
                raise OptionError(f"The data set '{self.name}' has a test file, so it has no fold.")
            return parts
        if not 0 <= (fold or 0) < FOLDS:
            raise OptionError(f"fold must be 0 to {FOLDS - 1}, got {fold}.")
        pieces = _split(parts["all"], (1 / FOLDS,) * FOLDS)
        test = pieces.pop(fold or 0)
        return {"train": [sentence for piece in pieces for sentence in piece], "test": test}

    def _held_out(
        self, parts: dict[str, list[Sentence]], share: float
    ) -> dict[str, list[Sentence]]:
        if "valid" in parts:
            raise OptionError(
                f"The data set '{self.name}' has a validation file: leave held_out out."
            )
        if not 0 < share < 1:
            raise OptionError(f"held_out must be between 0 and 1, got {share}.")
        train, valid = _split(parts["train"], (1 - share, share))
        if not train or not valid:
            raise OptionError(f"held_out={share} leaves a part of '{self.name}' empty.")
        return {"train": train, "valid": valid}


def read_sentences(path: Path, classes: int, *, lower: bool = True) -> list[Sentence]:
    """Returns the sentences of a file, each line a class and words.

    Raises:
        DataError: If a line is not of that form; it names the line.
        FileError: If the file cannot be read or is not UTF-8.
    """
    found = []
    # Not splitlines(): it also cuts at signs that may stand in a sentence.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        label, *words = (line.lower() if lower else line).split()
        known = label.isascii() and label.isdigit() and len(label) < 9 and int(label) < classes
        if not known or not words:
            raise DataError(
                f"{path}, line {number}: expected a class from 0 to {classes - 1} and words, found "
                f"{line[:60]!r}."
            )
        found.append((words, int(label)))
    if not found:
        raise DataError(f"{path} holds no sentence. Get the file anew.")
    return found


def _either(folder: Path, file: str) -> Path:
    packed = folder / f"{file}.gz"
    return packed if packed.exists() else folder / file


def _split(sentences: list[Sentence], fractions: tuple[float, ...]) -> list[list[Sentence]]:
    targets = torch.tensor([label for _, label in sentences])
    parts = split_indices(len(sentences), fractions, seed=0, targets=targets)
    # In the order of the file, so that a part does not depend on the order of the draw.
    return [[sentences[i] for i in sorted(part.tolist())] for part in parts]


def _sst(kind: str) -> dict[str, str]:
    ends = {"train": "train", "valid": "dev", "test": "test"}
    return {split: f"stsa.{kind}.{end}" for split, end in ends.items()}


#: Stanford Sentiment Treebank, whole sentences: five classes of sentiment (Socher et al. 2013).
sst5 = data_sets.add("sst5", TextReader("sst5", 5, _sst("fine")))
#: The same without the neutral ones: negative, positive.
sst2 = data_sets.add("sst2", TextReader("sst2", 2, _sst("binary")))
#: Questions, by what they ask for (Li & Roth 2002).
trec = data_sets.add(
    "trec", TextReader("trec", 6, {"train": "TREC.train.all", "test": "TREC.test.all"})
)
#: Sentences of film reviews, negative or positive (Pang & Lee 2005).
mr = data_sets.add("mr", TextReader("mr", 2, {"all": "rt-polarity.all"}))
