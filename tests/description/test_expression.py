"""Numbers written as expressions, against Python's own arithmetic."""

from __future__ import annotations

import random

import pytest

from nas_plugin.description.expression import evaluate, names_in, substituted
from nas_plugin.errors import DescriptionError


def drawn(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(["a", "b", "7", "12", "2.5"])
    left, right = drawn(rng, depth - 1), drawn(rng, depth - 1)
    return rng.choice([f"{left} {rng.choice('+-*')} {right}", f"({left})", f"-{left}",
                       f"{left}//3", f"{left} - ({right})"])  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_an_expression_is_what_python_computes(seed):
    text = drawn(random.Random(seed), 3)
    known = {"a": 5, "b": -3}

    assert evaluate(text, known) == eval(text, {}, dict(known))
    assert names_in(text) == {name for name in "ab" if name in text}
    replaced = substituted(text, {"a": "b - 1", "b": 4})
    assert evaluate(replaced, {"b": 6}) == eval(text, {}, {"a": 5, "b": 4})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no expression"), ("2 *", "is no expression"), ("(2", "is no expression"),
        ("2 3", "is no expression"), ("2)", "is no expression"), ("__import__('os')", "found"),
        ("a.b", "found '.'"), ("a ** 2", "is no expression"), ("4 // (a - 5)", "divides by zero"),
        ("c + 1", "'c', which is no parameter"), ("9 * " * 30 + "9", "longer than 100"),
        ("99999 * 99999", "is the most"), ("1e999", "is the most"), ("(" * 90 + "1", "no expr"),
        ("1e999 - 1e999", "is the most"), ("aa", "Known: a"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(text, said):
    with pytest.raises(DescriptionError, match=said):
        evaluate(text, {"a": 5})
