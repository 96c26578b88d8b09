"""A vocabulary is that of the training part, frequent words first."""

from __future__ import annotations

import pytest

from nas_plugin.data import Vocabulary
from nas_plugin.errors import OptionError

SENTENCES = [["b", "a", "b"], ["c", "b", "a"], ["d"]]


def test_words_are_numbered_by_frequency_then_by_alphabet() -> None:
    vocabulary = Vocabulary.of(SENTENCES)

    assert vocabulary.words[2:] == ("b", "a", "c", "d")
    assert len(vocabulary) == 6
    assert [vocabulary[word] for word in "abcd"] == [3, 2, 4, 5]


def test_rare_words_and_words_above_the_size_are_unknown() -> None:
    assert Vocabulary.of(SENTENCES, min_count=2).words[2:] == ("b", "a")
    small = Vocabulary.of(SENTENCES, max_size=1)
    assert "b" in small and "a" not in small
    assert small["a"] == 1


def test_sentences_are_cut_and_padded() -> None:
    vocabulary = Vocabulary.of(SENTENCES)

    assert vocabulary.encode(["a", "x"], 4) == [3, 1, 0, 0]
    assert vocabulary.encode(["a", "b", "c"], 2) == [3, 2]


def test_a_word_spelled_as_a_special_one_is_a_word() -> None:
    assert Vocabulary.of([["<unk>"]])["<unk>"] == 2


@pytest.mark.parametrize("numbers", [{"min_count": 0}, {"max_size": 0}])
def test_numbers_that_are_not_positive_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="must be positive"):
        Vocabulary.of(SENTENCES, **numbers)


def test_a_vocabulary_without_words_is_refused() -> None:
    with pytest.raises(OptionError, match="Lower min_count"):
        Vocabulary.of(SENTENCES, min_count=4)


def test_a_word_twice_is_refused() -> None:
    with pytest.raises(OptionError, match="every word once"):
        Vocabulary(["a", "a"])
