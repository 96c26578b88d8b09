"""The table of a NAS-Bench-1Shot1 space, drawn from an imported NAS-Bench-101."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas_plugin.benchmarks.importers._target import choose_release, target_path
from nas_plugin.benchmarks.nasbench101 import NasBench101, pack_graph
from nas_plugin.benchmarks.read import read_benchmark
from nas_plugin.benchmarks.table import sha256_of, write_table
from nas_plugin.errors import BenchmarkError, FileError, OptionError
from nas_plugin.space.encodings.nasbench1shot1 import PARENTS, OneShotSpace


def import_nasbench1shot1_from101(path: Path, out: Path | None, release: str | None) -> Path:
    """Looks up every architecture without loose ends, at all schedules that the table holds.

    Args:
        path: A compact NAS-Bench-101 table.
        out: The compact file to write; None is its place in the cache.
        release: ``nasbench1shot1-space1``, ``…2`` or ``…3``.

    Raises:
        FileError: If the table is none of NAS-Bench-101 or lacks an architecture.
        OptionError: If `release` is missing or another.
    """
    names = {f"nasbench1shot1-space{number}": number for number in PARENTS}
    if release is None:
        raise OptionError(f"Say which space to draw from {path.name}: {', '.join(names)}.")
    name = choose_release(path, release, tuple(names))
    benchmark = read_benchmark(path)
    if not isinstance(benchmark, NasBench101):
        raise FileError(f"{path} is a table of {benchmark.name}, not of NAS-Bench-101.")
    space = OneShotSpace(names[name])
    graphs = [space.to_graph(cell) for cell in space.without_loose_ends()]
    try:
        rows = np.array([benchmark.index(graph) for graph in graphs])
    except BenchmarkError as error:
        raise FileError(f"{path} does not hold all of space {space.number}: {error}") from error
    return write_table(
        target_path(out, name),
        kind="nasbench1shot1",
        name=name,
        release=f"NAS-Bench-1Shot1 space {space.number}, drawn from {benchmark.name}",
        datasets=benchmark.datasets,
        columns={c: benchmark.table.values(c)[rows] for c in benchmark.columns()},
        arrays={"graphs": np.array([pack_graph(graph) for graph in graphs], np.uint32)},
        source={path.name: sha256_of(path)},
        notes=("Architectures without loose ends only.", *benchmark.table.header["notes"]),
        extra={"space": space.number},
    )
