"""Latencies that others measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_plugin.errors import ArchitectureError, FileError, OptionError
from nas_plugin.profiling.published import devices_of, fit_cost_table, latency_by_index


def written(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_table_is_found_again_from_its_sums(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    costs = rng.uniform(0, 3, (4, 3))
    arch = rng.integers(0, 3, (200, 4)).astype(np.uint8)
    total = 1.0 + costs[np.arange(4), arch].sum(axis=1)
    path = written(tmp_path / "own.npz", arch=arch, phone=total.astype(np.float32))
    table, missed = fit_cost_table(path, "phone", list("abcd"), ["x", "y", "z"])

    assert missed < 1e-4 and table.unit == "ms"
    for row, expected in zip(arch, total, strict=True):
        architecture = {key: "xyz"[op] for key, op in zip("abcd", row, strict=True)}
        assert table(architecture) == pytest.approx(expected, abs=1e-3)


def test_latencies_are_looked_up_by_row(tmp_path: Path) -> None:
    path = written(tmp_path / "own.npz", phone=np.array([1.0, 2.5]), fpga=np.array([3.0, 4.0]))

    assert devices_of(path) == ["fpga", "phone"]
    assert latency_by_index(path, "phone", lambda a: int(a["row"]))({"row": 1}) == 2.5
    with pytest.raises(ArchitectureError, match="2 rows, but row 7"):
        latency_by_index(path, "phone", lambda _: 7)({})
    with pytest.raises(OptionError, match="no latencies of 'tpu'. It holds fpga, phone"):
        latency_by_index(path, "tpu", lambda _: 0)
    with pytest.raises(FileError, match="expected 'arch'"):
        fit_cost_table(path, "phone", ["a"], ["x"])


def test_fbnet_latencies_add_up_over_operations(shared_data: Path) -> None:
    path = shared_data / "nasbench_other" / "fbnet_latency_ms.npz"
    keys, names = [f"block_{i}" for i in range(22)], [f"op_{i}" for i in range(9)]
    table, missed = fit_cost_table(path, "raspi4", keys, names)
    arrays = np.load(path)
    rows = arrays["arch"][:20]
    for row, measured in zip(rows, arrays["raspi4"], strict=False):
        architecture = {k: names[op] for k, op in zip(keys, row, strict=True)}
        assert table(architecture) == pytest.approx(measured, rel=1e-4)
    assert missed < 1e-3
