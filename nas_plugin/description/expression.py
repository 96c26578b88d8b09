"""Numbers written as expressions of parameters: ``2 * channels``, ``(cells + 1) // 3``.

Only sums, differences, products and whole quotients; nothing is evaluated by Python.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from nas_plugin.errors import DescriptionError

Number = int | float
#: A number, or an expression that stands for one.
Amount = int | float | str

_TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|([A-Za-z_]\w*)|(//|[-+*()]))", re.ASCII
)
_LONGEST, _LARGEST = 100, 2**31


def evaluate(amount: Amount, names: Mapping[str, Number]) -> Number:
    """Returns the number that an amount stands for.

    Raises:
        DescriptionError: If it is no expression, holds an unknown name or is too large.
    """
    if not isinstance(amount, str):
        return amount
    found = _Reader(amount, names).whole()
    if not abs(found) <= _LARGEST:
        raise DescriptionError(f"'{amount}' is {found}; {_LARGEST} is the most. Check it.")
    return found


def names_in(expression: str) -> set[str]:
    """Returns the names that an expression holds.

    Raises:
        DescriptionError: If it is no expression.
    """
    names = {token for token in _tokens(expression) if token.isidentifier()}
    _Reader(expression, dict.fromkeys(names, 1), counts=False).whole()
    return names


def substituted(expression: str, amounts: Mapping[str, Amount]) -> Amount:
    """Returns the expression with names replaced by what they stand for; names unknown stay."""
    if expression.strip() in amounts:
        return amounts[expression.strip()]

    def spelled(token: str) -> str:
        amount = amounts.get(token, token)
        return f"( {amount} )" if len(list(_tokens(str(amount)))) > 1 else str(amount)

    return " ".join(spelled(token) for token in _tokens(expression))


def _tokens(text: str) -> Iterator[str]:
    if len(text) > _LONGEST:
        raise DescriptionError(f"'{text[:40]}…' is longer than {_LONGEST} characters. Shorten it.")
    position, text = 0, text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise DescriptionError(
                f"'{text}' is no expression: found {text[position:].strip()[:1]!r}. Allowed are "
                "numbers, names of parameters, + - * // and brackets."
            )
        yield found[0].strip()
        position = found.end()


class _Reader:
    """Reads one expression from left to right.

    Args:
        text: The expression.
        names: The numbers that names stand for.
        counts: Whether the result matters; if not, dividing by zero is no error.
    """

    def __init__(self, text: str, names: Mapping[str, Number], *, counts: bool = True) -> None:
        self.text, self.names, self.counts = text, names, counts
        self.tokens = [*_tokens(text), ""]
        self.position = 0

    def whole(self) -> Number:
        found = self.sum()
        if self.next():
            raise self.error()
        return found

    def sum(self) -> Number:
        total = self.product()
        while self.next() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            total += sign * self.product()
        return total

    def product(self) -> Number:
        total = self.factor()
        while self.next() in ("*", "//"):
            divides = self.take() == "//"
            other = self.factor()
            if divides and other == 0 and not self.counts:
                other = 1
            if divides and other == 0:
                raise DescriptionError(f"'{self.text}' divides by zero. Correct it.")
            total = total // other if divides else total * other
        return total

    def factor(self) -> Number:
        token = self.take()
        if token == "-":
            return -self.factor()
        if token == "(":
            found = self.sum()
            if self.take() != ")":
                raise self.error()
            return found
        if token[:1].isdigit():
            return int(token) if token.isdigit() else float(token)
        if not token.isidentifier():
            raise self.error()
        if token not in self.names:
            near = difflib.get_close_matches(token, self.names, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            known = ", ".join(self.names) or "none"
            raise DescriptionError(
                f"'{self.text}' holds '{token}', which is no parameter.{hint} Known: {known}."
            )
        return self.names[token]

    def next(self) -> str:
        return self.tokens[self.position]

    def take(self) -> str:
        token = self.tokens[self.position]
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def error(self) -> DescriptionError:
        return DescriptionError(
            f"'{self.text}' is no expression. Write it as in '2 * channels' or '(cells + 1) // 3'."
        )
