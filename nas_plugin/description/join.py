"""How the inputs of a node become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from nas_plugin.description.names import checked_key
from nas_plugin.errors import DescriptionError

#: ``sum``, ``mean`` and ``concat`` (along channels); ``loose``: the sum of those inputs that no
#: other node reads, whatever is chosen; ``apart``: each goes to an input of the node's graph.
JOINS = ("sum", "mean", "concat", "loose", "apart")


@dataclass(frozen=True)
class AnyOf:
    """Chooses n of a node's inputs; becomes an `InputChoice`.

    Its candidates are the keys of the choices on the edges if every edge has one with a key, so
    that it follows the strength of the edges as in DARTS; else the names of the nodes.

    Args:
        n: How many inputs are chosen; None is any number. Nothing chosen gives zeros, and the
            node's operation does not run.
        key: Joins of one key share their decision; its place in the model if None.
        join: What is done with those chosen: ``sum`` or ``mean``.

    Raises:
        DescriptionError: If a number or name is none of these.
    """

    n: int | None = None
    key: str | None = None
    join: str = "sum"

    def __post_init__(self) -> None:
        checked_key(self.key)
        if self.n is not None and (type(self.n) is not int or self.n < 1):
            raise DescriptionError(f"any takes a positive whole number or null, got {self.n!r}.")
        if self.join not in ("sum", "mean"):
            raise DescriptionError(f"What is chosen is joined by sum or mean, got {self.join!r}.")


Join: TypeAlias = str | AnyOf


def as_join(join: Any) -> Join:
    """Returns a join if it is one.

    Raises:
        DescriptionError: If it is not.
    """
    if isinstance(join, AnyOf) or (isinstance(join, str) and join in JOINS):
        return join
    raise DescriptionError(f"A join is one of {', '.join(JOINS)}, or AnyOf(n), got {join!r}.")
