"""Rungs and brackets: many architectures cheaply, the better ones more thoroughly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Rung:
    """The architectures of a bracket that are evaluated at one fidelity.

    Args:
        fidelity: How thoroughly.
        size: How many there will be.
        values: Proposal → value (more is better), None while it is open.
        promoted: Proposals of this rung that went on to the next.
    """

    fidelity: float
    size: int
    values: dict[int, float | None] = field(default_factory=dict)
    promoted: list[int] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether no further architecture enters."""
        return len(self.values) >= self.size

    @property
    def is_open(self) -> bool:
        """Whether a proposal of this rung has not been told."""
        return None in self.values.values()


@dataclass
class Bracket:
    """One run of successive halving."""

    rungs: list[Rung]

    def next_promotion(self) -> tuple[int, int] | None:
        """Returns the proposal that is promoted next and the rung that it enters, or None.

        Failures go nowhere: a rung that could not be filled is as good as full.
        """
        if not self.rungs[0].is_full:
            return None
        for number, (lower, upper) in enumerate(zip(self.rungs, self.rungs[1:], strict=False)):
            if lower.is_open:
                return None
            ranked = sorted(lower.values, key=lambda i: (-_number(lower.values[i]), i))
            for proposal in ranked[: upper.size]:
                if proposal not in lower.promoted and _number(lower.values[proposal]) > -math.inf:
                    return proposal, number + 1
        return None

    def close(self) -> None:
        """Lets no further architecture in: the space has no more."""
        self.rungs[0].size = len(self.rungs[0].values)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns plain JSON; a failure is the string ``failed``."""
        return [
            {
                "fidelity": rung.fidelity,
                "size": rung.size,
                "values": [[i, "failed" if v == -math.inf else v] for i, v in rung.values.items()],
                "promoted": list(rung.promoted),
            }
            for rung in self.rungs
        ]

    @classmethod
    def from_json(cls, data: list[Mapping[str, Any]]) -> Bracket:
        """Reads what `to_json` wrote."""
        return cls(
            [
                Rung(
                    rung["fidelity"],
                    rung["size"],
                    {i: -math.inf if v == "failed" else v for i, v in rung["values"]},
                    list(rung["promoted"]),
                )
                for rung in data
            ]
        )


def _number(value: float | None) -> float:
    return -math.inf if value is None else value
