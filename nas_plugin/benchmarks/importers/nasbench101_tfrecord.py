"""The official NAS-Bench-101 file: JSON rows in a TFRecord, with metrics as protocol buffers.

A row is ``[hash, epochs, matrix bits, "input,…,output", base64 of ModelMetrics]``; the message
has the evaluations (1) at the start, halfway and the end, and the parameter count (2); an
evaluation has seconds (2) and train, validation and test accuracy (3, 4, 5).
"""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas_plugin.benchmarks.importers._target import choose_release, target_path
from nas_plugin.benchmarks.importers.protobuf import read_fields
from nas_plugin.benchmarks.importers.tfrecord import read_tfrecord
from nas_plugin.benchmarks.nasbench101 import pack_graph, split_hash
from nas_plugin.benchmarks.table import Array, Column, sha256_of, write_table
from nas_plugin.errors import ArchitectureError, FileError
from nas_plugin.files import parse_json
from nas_plugin.space.encodings.nasbench101 import Graph

_REPEATS = 3
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class _Known:
    position: int
    spelled: tuple[str, str]  # matrix bits and operations, as the file has them
    packed: list[int]
    params: int


class _Runs:
    """All rows of the file as plain numbers: five million of them take 200 MB."""

    def __init__(self) -> None:
        self.graphs: dict[str, _Known] = {}
        self.positions, self.epochs, self.values = array("l"), array("l"), array("f")

    def add(self, record: bytes, what: str) -> None:
        """Reads one row.

        Raises:
            FileError: If it is none, or its graph and hash do not belong together.
        """
        try:
            text, epochs, bits, ops, metrics = parse_json(record.decode(), "row")
            if type(epochs) is not int or not 0 < epochs < 100_000:
                raise ValueError(f"{epochs!r} epochs")
            params, values = _metrics(base64.b64decode(metrics, validate=True))
            known = self.graphs.get(text)
            if known is None:
                packed = pack_graph(_graph(text, bits, ops))
                known = _Known(len(self.graphs), (bits, ops), packed, params)
                self.graphs[text] = known
            elif known.spelled != (bits, ops):
                raise ValueError("another graph than an earlier row of the same hash")
        except (ValueError, TypeError, AttributeError, ArchitectureError, FileError) as error:
            raise FileError(f"{what} is no NAS-Bench-101 row: {str(error)[:200]}.") from error
        self.positions.append(known.position)
        self.epochs.append(epochs)
        self.values.extend(values)


def import_nasbench101_tfrecord(path: Path, out: Path | None, release: str | None) -> Path:
    """Imports ``nasbench_full.tfrecord`` or ``nasbench_only108.tfrecord``.

    Raises:
        FileError: If the file is truncated, damaged or holds other rows.
        OptionError: If `release` is neither.
    """
    runs = _Runs()
    for number, record in enumerate(read_tfrecord(path)):
        runs.add(record, f"{path}, record {number}")
    if not runs.graphs:
        raise FileError(f"{path} holds no record.")
    variant = "nasbench101-only108" if set(runs.epochs) == {108} else "nasbench101-full"
    name = choose_release(path, release, (variant,))
    order = sorted(runs.graphs)
    halves = [split_hash(text) for text in order]
    graphs = [runs.graphs[key] for key in order]
    return write_table(
        target_path(out, name),
        kind="nasbench101",
        name=name,
        release=f"NAS-Bench-101 (Google, 2019), {path.name}",
        datasets=("cifar10",),
        columns=_columns(runs, graphs, path),
        arrays={
            "hash_high": np.array([high for high, _ in halves], np.uint64),
            "hash_low": np.array([low for _, low in halves], np.uint64),
            "graphs": np.array([graph.packed for graph in graphs], np.uint32),
        },
        source={path.name: sha256_of(path)},
        notes=(
            "Seeds are the repeats 0, 1 and 2, in the order of the file.",
            "train_seconds is training only, as published; it does not include evaluation.",
        ),
    )


def _graph(text: str, bits: str, ops: str) -> Graph:
    size = math.isqrt(len(bits))
    if size * size != len(bits):
        raise ValueError(f"{len(bits)} matrix entries")
    rows = tuple(tuple(int(bit) for bit in bits[i * size :][:size]) for i in range(size))
    graph = Graph(rows, tuple(ops.split(",")))
    if not graph.is_legal() or graph.prune() != graph:
        raise ValueError("a graph that is no pruned cell of NAS-Bench-101")
    if graph.hash() != text:
        raise ValueError(f"the graph has hash {graph.hash()}, the row says {text}")
    return graph


def _metrics(message: bytes) -> tuple[int, tuple[float, ...]]:
    """Returns the parameters, then seconds and accuracies halfway and at the end."""
    fields = list(read_fields(message))
    evaluations = [_evaluation(value) for number, value in fields if number == 1]
    params = [value for number, value in fields if number == 2]
    if len(evaluations) != 3 or len(params) != 1:
        raise ValueError(f"{len(evaluations)} evaluations and {len(params)} parameter counts")
    if not isinstance(params[0], int) or params[0] >= 2**31:
        raise ValueError(f"{params[0]!r} parameters")
    return params[0], evaluations[1] + evaluations[2]


def _evaluation(message: Any) -> tuple[float, ...]:
    fields = dict(read_fields(message))
    values = [fields.get(number, 0.0) for number in (2, 3, 4, 5)]
    if not all(isinstance(value, float) and 0 <= value < 1e9 for value in values):
        raise ValueError(f"an evaluation holds {values}")
    seconds, *accuracies = (float(value) for value in values)
    if max(accuracies) > 1:
        raise ValueError(f"accuracies {accuracies}")
    return (seconds, *(100 * accuracy for accuracy in accuracies))


def _columns(runs: _Runs, graphs: Sequence[_Known], path: Path) -> dict[Column, Array]:
    columns: dict[Column, Array] = {
        Column("params", "cifar10", goal="min"): np.array([g.params for g in graphs], np.int32)
    }
    rows = np.empty(len(graphs), np.int64)
    rows[[graph.position for graph in graphs]] = np.arange(len(graphs))
    row = rows[np.array(runs.positions)]
    schedule, values = np.array(runs.epochs), np.array(runs.values).reshape(-1, 2, 4)
    for epochs in sorted(set(runs.epochs)):
        mine = np.flatnonzero(schedule == epochs)
        mine = mine[np.argsort(row[mine], kind="stable")]  # repeats stay in the file's order
        starts = np.searchsorted(row[mine], row[mine], side="left")
        repeat = np.arange(len(mine)) - starts
        if repeat.max() >= _REPEATS:
            raise FileError(f"{path}: a graph has over {_REPEATS} repeats at {epochs} epochs.")
        by_repeat = np.full((len(graphs), _REPEATS, 2, 4), np.nan)
        by_repeat[row[mine], repeat] = values[mine]
        columns.update(_schedule(epochs, by_repeat))
    return columns


def _schedule(epochs: int, values: Array) -> dict[Column, Array]:
    """Names the columns of one schedule; `values` is (rows, repeats, halfway or final, 4)."""
    known = (~np.isnan(values)).sum(axis=1)
    means = np.where(known > 0, np.nansum(values, axis=1) / np.maximum(known, 1), np.nan)
    columns = {}
    for j, prefix in enumerate(("halfway_", "")):
        for k, split in enumerate((None, *_SPLITS)):
            metric = f"{prefix}{'accuracy' if split else 'train_seconds'}"
            goal = "max" if split else "min"
            columns[Column(metric, "cifar10", epochs, split, None, goal)] = _f4(means[:, j, k])
            for seed in range(_REPEATS):
                column = Column(metric, "cifar10", epochs, split, seed, goal)
                columns[column] = _f4(values[:, seed, j, k])
    return columns


def _f4(values: Array) -> Array:
    return values.astype(np.float32)
