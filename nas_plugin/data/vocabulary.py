"""Words and the numbers that stand for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from nas_plugin.errors import OptionError

PADDING, UNKNOWN = 0, 1
#: What the first two numbers stand for; no sentence holds these as words.
SPECIAL = ("", "<unk>")


class Vocabulary:
    """Maps words to 2, 3, …; 0 is the padding, 1 any word that is not known.

    Args:
        words: The known words, without the two special ones.

    Raises:
        OptionError: If a word is empty or there twice.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._ids = {word: i for i, word in enumerate(words, start=len(SPECIAL))}
        if len(self._ids) != len(words) or "" in self._ids:
            raise OptionError("A vocabulary takes every word once, and no empty word.")
        self.words = (*SPECIAL, *words)

    @classmethod
    def of(
        cls,
        sentences: Iterable[Sequence[str]],
        *,
        min_count: int = 1,
        max_size: int | None = None,
    ) -> Vocabulary:
        """Returns the words of sentences, the most frequent first, equals in alphabetical order.

        Args:
            sentences: Lists of words: those of the training part, never of the test part.
            min_count: Rarer words stay unknown.
            max_size: Keep that many words.

        Raises:
            OptionError: If a number is not allowed, or no word is left.
        """
        if min_count < 1 or (max_size is not None and max_size < 1):
            raise OptionError(
                f"min_count and max_size must be positive, got {min_count} and {max_size}."
            )
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = sorted((-n, word) for word, n in counts.items() if n >= min_count)
        if not kept:
            raise OptionError(
                f"No word of the training part is there {min_count} times or more, so all would be "
                "unknown. Lower min_count."
            )
        return cls([word for _, word in kept[:max_size]])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __getitem__(self, word: str) -> int:
        """Returns a word's number, `UNKNOWN` for one that is not known."""
        return self._ids.get(word, UNKNOWN)

    def encode(self, sentence: Sequence[str], length: int) -> list[int]:
        """Returns `length` numbers: what is longer is cut, what is shorter is padded."""
        ids = [self[word] for word in sentence[:length]]
        return ids + [PADDING] * (length - len(ids))
