"""What each candidate of a space costs: latency, FLOPs, or anything else that adds up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_plugin.errors import FileError, SpaceError
from nas_plugin.files import read_json, write_json
from nas_plugin.files.shape import NUMBER, TEXT, Optional, check_json
from nas_plugin.space.choice import Value
from nas_plugin.space.search_space import SearchSpace

_FORMAT = "nas_plugin.cost_table/1"
_SHAPE = {
    "format": TEXT,
    "unit": TEXT,
    "costs": {str: {str: NUMBER}},
    Optional("fixed"): NUMBER,
    Optional("about"): dict,
}


@dataclass(frozen=True)
class CostTable:
    """Costs that add up over the chosen candidates.

    Calling it with an architecture returns the cost: `fixed` and that of every chosen candidate.
    Choices that are not in the table cost nothing.

    Args:
        unit: For example ``ms`` or ``FLOPs``.
        costs: Key → candidate → cost.
        fixed: What every architecture costs besides.
        about: How it was measured: device, input shape, repeats.

    Raises:
        SpaceError: If a cost is negative or not finite.
    """

    unit: str
    costs: Mapping[str, Mapping[str, float]]
    fixed: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, candidates in self.costs.items():
            for name, cost in candidates.items():
                if not math.isfinite(cost) or cost < 0:
                    raise SpaceError(
                        f"The cost of '{name}' in '{key}' is {cost}; costs are finite and not "
                        "negative."
                    )

    def __call__(self, architecture: Mapping[str, Value]) -> float:
        total = self.fixed
        for key, candidates in self.costs.items():
            value = architecture.get(key, ())
            for name in value if isinstance(value, tuple) else (value,):
                total += candidates[str(name)]
        return total

    def check(self, space: SearchSpace) -> None:
        """Raises SpaceError unless every key and all its candidates belong to `space`."""
        for key, candidates in self.costs.items():
            if key not in space:
                raise SpaceError(
                    f"The cost table has the key '{key}', which the search space does not know. "
                    "Measure a table for this model: nas-plugin profile."
                )
            wanted = {str(c) for c in space[key].candidates}
            if set(candidates) != wanted:
                raise SpaceError(
                    f"The cost table's candidates of '{key}' are {sorted(candidates)}, those of "
                    f"the search space {sorted(wanted)}. Measure a table for this model."
                )

    def write(self, path: str | Path) -> None:
        """Writes the table as JSON."""
        write_json(
            path,
            {
                "format": _FORMAT,
                "unit": self.unit,
                "fixed": self.fixed,
                "costs": {key: dict(costs) for key, costs in self.costs.items()},
                "about": dict(self.about),
            },
        )

    @classmethod
    def read(cls, path: str | Path) -> CostTable:
        """Reads what `write` wrote, or one written by hand.

        Raises:
            FileError: If the file is something else.
        """
        data = read_json(path)
        if not isinstance(data, Mapping) or data.get("format") != _FORMAT:
            raise FileError(
                f"{path} is no cost table: expected an object with 'format': '{_FORMAT}', 'unit', "
                "'costs' and 'fixed', as nas-plugin profile writes it."
            )
        check_json(data, _SHAPE, f"{path} is no cost table")
        try:
            return cls(
                unit=data["unit"],
                costs={
                    key: {name: float(cost) for name, cost in candidates.items()}
                    for key, candidates in data["costs"].items()
                },
                fixed=float(data.get("fixed", 0.0)),
                about=dict(data.get("about", {})),
            )
        except (OverflowError, SpaceError) as error:
            raise FileError(f"{path} is no cost table: {str(error)[:200]}.") from error
