"""Latencies that others measured: whole architectures, and what their parts cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_plugin.errors import ArchitectureError, FileError, OptionError
from nas_plugin.files import read_npz
from nas_plugin.space.choice import Value
from nas_plugin.space.cost_table import CostTable


def devices_of(path: str | Path) -> list[str]:
    """Returns the devices of a latency file."""
    return sorted(name for name, array in read_npz(path).items() if array.ndim == 1)


def latency_by_index(
    path: str | Path, device: str, index: Callable[[Mapping[str, Value]], int]
) -> Callable[[Mapping[str, Value]], float]:
    """Returns the latency in ms of any architecture of a benchmark, by its row.

    Args:
        path: An npz file with one array of latencies a device.
        device: Its name in the file.
        index: Architecture → row, as ``NasBench201.index``.

    Raises:
        FileError: If the file is something else.
        OptionError: If it does not hold the device.
    """
    column = _column(path, device)

    def latency(architecture: Mapping[str, Value]) -> float:
        row = index(architecture)
        if not 0 <= row < len(column):
            raise ArchitectureError(f"{path} holds {len(column)} rows, but row {row} was asked.")
        return float(column[row])

    return latency


def fit_cost_table(
    path: str | Path, device: str, keys: Sequence[str], candidates: Sequence[str]
) -> tuple[CostTable, float]:
    """Splits measured latencies of architectures into what each operation costs at each place.

    Non-negative least squares by projected steps; `fixed` is the intercept.

    Args:
        path: An npz file with ``arch`` ``(A, L)``, operation numbers, and one array a device.
        device: Its name in the file.
        keys: One a place, L in all.
        candidates: The operations' names, in the order of their numbers.

    Returns:
        The table, and the root mean square of what it misses, in ms.

    Raises:
        FileError: If the file does not hold ``arch`` of this form.
        OptionError: If it does not hold the device, or too few keys or candidates are named.
    """
    column = _column(path, device)
    arch = read_npz(path).get("arch")
    if arch is None or arch.ndim != 2 or len(arch) != len(column) or arch.dtype.kind not in "iu":
        raise FileError(
            f"{path}: expected 'arch' (architectures, places), whole numbers, beside '{device}'."
        )
    if arch.size == 0 or int(arch.min()) < 0:
        raise FileError(f"{path}: 'arch' is empty or holds negative numbers of operations.")
    if arch.shape[1] != len(keys) or int(arch.max()) >= len(candidates):
        raise OptionError(
            f"{path} has {arch.shape[1]} places of up to {int(arch.max()) + 1} operations; got "
            f"{len(keys)} keys and {len(candidates)} candidates."
        )
    n, k = len(keys), len(candidates)
    design = np.zeros((len(arch), 1 + n * k))
    design[:, 0] = 1.0
    for place in range(n):
        design[np.arange(len(arch)), 1 + place * k + arch[:, place]] = 1.0
    solution = _non_negative(design, column.astype(float))
    parts = solution[1:].reshape(n, k)
    table = CostTable(
        "ms",
        {
            key: {c: float(v) for c, v in zip(candidates, row, strict=True)}
            for key, row in zip(keys, parts, strict=True)
        },
        fixed=float(solution[0]),
        about={"device": device, "fitted_on": len(arch)},
    )
    return table, float(np.sqrt(np.mean((design @ solution - column) ** 2)))


def _non_negative(design: Any, target: Any, steps: int = 4000) -> Any:
    """Least squares under ``x >= 0`` by accelerated projected gradient steps."""
    gram, right = design.T @ design, design.T @ target
    rate = 1.0 / float(np.linalg.eigvalsh(gram)[-1])
    x = y = np.zeros(design.shape[1])
    momentum = 1.0
    for _ in range(steps):
        new = np.maximum(y - rate * (gram @ y - right), 0.0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        y = new + (momentum - 1) / following * (new - x)
        x, momentum = new, following
    return x


def _column(path: str | Path, device: str) -> Any:
    arrays = read_npz(path)
    if device not in arrays or arrays[device].ndim != 1:
        known = ", ".join(sorted(n for n, a in arrays.items() if a.ndim == 1))
        raise OptionError(f"{path} holds no latencies of '{device}'. It holds {known}.")
    column = arrays[device]
    if column.dtype.kind not in "fiu" or not np.isfinite(column).all() or (column < 0).any():
        raise FileError(
            f"{path}: '{device}' holds what is no latency. Every entry is a finite number of ms, "
            "not below 0."
        )
    return column
