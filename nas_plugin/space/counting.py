"""How many architectures a space holds, and one of them drawn so that all are equally likely.

Both come from one recursion. A problem is the choices that are not decided, each with what is left
of its conditions; deciding a choice leaves a smaller problem. Choices that share no condition are
counted apart and multiplied; equal problems are counted once.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from random import Random

from nas_plugin.space.choice import Choice, Condition, Value, holds

#: Alternatives that may still hold, each the conditions that are still open; None: always active.
Pending = frozenset[frozenset[Condition]] | None
#: Keys with what is left of their conditions, parents before the choices that depend on them.
Problem = tuple[tuple[str, Pending], ...]
Decided = dict[str, Value | None]


class Counting:
    """Counts and draws the completions of partly decided architectures.

    Args:
        order: All choices, parents before the choices that depend on them.
        forced: Key → the value it has wherever it is active.
    """

    def __init__(self, order: Iterable[Choice], forced: Mapping[str, Value] | None = None) -> None:
        self._choices = {choice.key: choice for choice in order}
        self._forced = {} if forced is None else forced
        self._branches: dict[Problem, tuple[list[tuple[Value, Problem]], list[int]]] = {}
        self._parts: dict[Problem, list[Problem]] = {}

    def count(self, decided: Decided | None = None) -> int:
        """Returns the number of completions of `decided`, where None is an inactive key."""
        return self._count(self._start(decided or {}))

    def draw(self, decided: Decided, rng: Random) -> dict[str, Value]:
        """Returns one of the completions of `decided`, all equally likely; the new keys alone."""
        drawn: dict[str, Value] = {}
        problems = self._split(self._start(decided))
        while problems:
            problem = problems.pop()
            key = problem[0][0]
            if len(problem) == 1:
                drawn[key] = self._forced[key] if self._is_forced(key) else self._sample(key, rng)
                continue
            branches, upto = self._branch(problem)
            drawn[key], rest = branches[bisect_right(upto, rng.randrange(upto[-1]))]
            problems = problems + self._split(rest)
        return drawn

    def _start(self, decided: Decided) -> Problem:
        problem: Problem = tuple(
            (key, frozenset(map(frozenset, choice.active_if)) if choice.active_if else None)
            for key, choice in self._choices.items()
            if key not in decided
        )
        for key, value in decided.items():
            problem = _decide(problem, key, value)
        return problem

    def _count(self, problem: Problem) -> int:
        total = 1
        for part in self._split(problem):
            if len(part) > 1:
                total *= self._branch(part)[1][-1]
            elif not self._is_forced(part[0][0]):
                total *= self._choices[part[0][0]].count()
        return total

    def _branch(self, problem: Problem) -> tuple[list[tuple[Value, Problem]], list[int]]:
        """Returns for each value of the first choice what it leaves, and the counts added up."""
        found = self._branches.get(problem)
        if found is None:
            key = problem[0][0]
            forced = self._is_forced(key)
            values = [self._forced[key]] if forced else self._choices[key].values()
            branches = [(value, _decide(problem[1:], key, value)) for value in values]
            counts = [self._count(rest) for _, rest in branches]
            found = self._branches[problem] = (branches, list(itertools.accumulate(counts)))
        return found

    def _split(self, problem: Problem) -> list[Problem]:
        """Returns the parts of a problem that share no condition, the first keys last."""
        found = self._parts.get(problem)
        if found is None:
            found = self._parts[problem] = _components(problem)
        return found[:]

    def _is_forced(self, key: str) -> bool:
        return key in self._forced

    def _sample(self, key: str, rng: Random) -> Value:
        return self._choices[key].sample(rng)


def _decide(problem: Problem, key: str, value: Value | None) -> Problem:
    """Returns what is left when `key` has `value`, or is inactive; drops what becomes inactive."""
    left: list[tuple[str, Pending]] = []
    gone: list[str] = []
    for name, pending in problem:
        if pending is None or not any(c[0] == key for alternative in pending for c in alternative):
            left.append((name, pending))
            continue
        open_ = set()
        for alternative in pending:
            mine = [condition for condition in alternative if condition[0] == key]
            if all(holds(value, wanted) for _, wanted in mine):
                open_.add(alternative.difference(mine))
        if not open_:
            gone.append(name)
        else:
            left.append((name, None if frozenset() in open_ else frozenset(open_)))
    rest: Problem = tuple(left)
    for name in gone:
        rest = _decide(rest, name, None)
    return rest


def _components(problem: Problem) -> list[Problem]:
    parent = {key: key for key, _ in problem}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for key, pending in problem:
        for alternative in pending or ():
            for other, _ in alternative:
                parent[root(other)] = root(key)
    groups: dict[str, list[tuple[str, Pending]]] = {}
    for entry in problem:
        groups.setdefault(root(entry[0]), []).append(entry)
    return [tuple(group) for group in groups.values()][::-1]
