"""NAS-Bench-201 and the topology space of NATS-Bench: 15,625 cells, three data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_plugin.benchmarks.benchmark import benchmarks
from nas_plugin.benchmarks.table import Table
from nas_plugin.benchmarks.tabular import TabularBenchmark
from nas_plugin.errors import ArchitectureError, FileError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.encodings import nasbench201
from nas_plugin.space.encodings.nasbench201 import KEYS, OPS

_POWERS = tuple(len(OPS) ** (len(KEYS) - 1 - i) for i in range(len(KEYS)))


@benchmarks.register("nasbench201")
class NasBench201(TabularBenchmark):
    """Rows are in the official order, so row numbers are the official indices.

    ``cifar10`` trains on half of the training images for ``valid`` (officially
    ``cifar10-valid``) and on all of them for ``test``. The schedules of 12 and of 200 epochs are
    separate trainings: the first is no prefix of the second.

    References:
        Dong & Yang 2020, https://arxiv.org/abs/2001.00326;
        Dong et al. 2021, https://arxiv.org/abs/2009.00437
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.space = nasbench201.space()
        self._ops = table.array("ops")
        if self._ops.shape != (table.rows, len(KEYS)) or self._ops.max(initial=0) >= len(OPS):
            raise FileError(f"{table.path}: 'ops' does not hold six operations a row.")
        rows = np.full(len(OPS) ** len(KEYS), -1)
        rows[self._ops @ np.asarray(_POWERS)] = np.arange(table.rows)
        if table.rows != len(rows) or (rows < 0).any():
            raise FileError(f"{table.path}: 'ops' does not hold each of {len(rows)} cells once.")
        self._rows: list[int] = rows.tolist()
        self._weights = [
            (key, {op: digit * power for digit, op in enumerate(OPS)})
            for key, power in zip(KEYS, _POWERS, strict=True)
        ]

    def index(self, architecture: Any) -> int:
        """Returns the official index of an architecture, mapping, string or index."""
        if isinstance(architecture, str):
            architecture = nasbench201.from_string(architecture)
        elif isinstance(architecture, (int, np.integer)):
            return self._row(architecture)
        try:
            code = 0
            for key, weight in self._weights:
                code += weight[architecture[key]]
        except (KeyError, TypeError):
            if not isinstance(architecture, Mapping):
                raise ArchitectureError(
                    f"Not a NAS-Bench-201 architecture: {architecture!r}. Give an Architecture, "
                    "a mapping, a string |op~0|+… or an index."
                ) from None
            return self.index(self.space.architecture(architecture))
        return self._rows[code]

    def architecture(self, index: int) -> Architecture:
        return nasbench201.from_ops([OPS[op] for op in self._ops[self._row(index)]])
