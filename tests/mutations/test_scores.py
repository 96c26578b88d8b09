"""The scores in the cards are of as many known mistakes as there are."""

from __future__ import annotations

import re

import pytest

from tests.mutations.mutation import ROOT, load

SCORE = re.compile(
    r"(\d+)\s+of\s+(\d+)\s+known\s+mistakes\s+are\s+killed\s+"
    r"\(`python -m tests\.mutations ([^`]+)`\)"
)
KNOWN = load()
CARDS = {p.stem: p.read_text() for p in sorted((ROOT / "docs" / "algorithms").glob("*.md"))}
SCORES = [(card, *found) for card, text in CARDS.items() for found in SCORE.findall(text)]


@pytest.mark.parametrize(("card", "killed", "total", "words"), SCORES, ids=[s[0] for s in SCORES])
def test_a_card_counts_the_entries_of_its_method(
    card: str, killed: str, total: str, words: str
) -> None:
    entries = [m for m in KNOWN if any(w in m.id for w in words.split()) and not m.equivalent]

    assert int(total) == len(entries), f"{card}: run `python -m tests.mutations {words}` again"
    assert int(killed) <= int(total)


def test_the_differentiable_methods_have_scores() -> None:
    assert len(SCORES) >= 14
