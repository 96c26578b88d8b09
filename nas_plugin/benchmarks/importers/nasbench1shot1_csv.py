"""The tables of NAS-Bench-1Shot1 spaces as CSV: matrix, operations, three runs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from nas_plugin.benchmarks.importers._target import choose_release, target_path
from nas_plugin.benchmarks.importers.user_table import open_text
from nas_plugin.benchmarks.nasbench101 import pack_graph
from nas_plugin.benchmarks.table import Array, Column, sha256_of, write_table
from nas_plugin.errors import ArchitectureError, FileError
from nas_plugin.space.encodings.nasbench1shot1 import OneShotSpace
from nas_plugin.space.encodings.nasbench101 import Graph

_RUNS = (1, 2, 3)
_FIELDS = (
    "adjacency7x7",
    *(f"op{i}" for i in range(7)),
    *(f"{split}_acc{run}" for split in ("val", "test") for run in _RUNS),
)


def import_nasbench1shot1_csv(path: Path, out: Path | None, release: str | None) -> Path:
    """Imports one space; its number is in the file's name (``…space1…``).

    Raises:
        FileError: If the file is malformed or the cells belong to another space.
        OptionError: If `release` names another space.
    """
    match = re.search(r"space([123])", path.name)
    if match is None:
        raise FileError(f"{path}: the name does not say which space it holds ('space1', …).")
    number = int(match[1])
    name = choose_release(path, release, (f"nasbench1shot1-space{number}",))
    space = OneShotSpace(number)
    graphs, accuracies = [], []
    try:
        with open_text(path) as stream:
            reader = csv.reader(stream, strict=True)
            if tuple(next(reader, ())) != _FIELDS:
                raise FileError(f"{path}: the first line must be {','.join(_FIELDS)}.")
            for line, row in enumerate(reader, 2):
                if len(row) != len(_FIELDS) or not re.fullmatch("[01]{49}", row[0]):
                    raise FileError(f"{path}, line {line}: needs {len(_FIELDS)} fields, 49 bits.")
                bits = [int(bit) for bit in row[0]]
                graph = Graph(
                    tuple(tuple(bits[i : i + 7]) for i in range(0, 49, 7)), tuple(row[1:8])
                )
                space.from_graph(graph)
                values = [float(text) for text in row[8:]]
                if not all(0 <= value <= 1 for value in values):
                    raise FileError(f"{path}, line {line}: an accuracy is outside [0, 1].")
                graphs.append(pack_graph(graph))
                accuracies.append(values)
    except (ValueError, ArchitectureError) as error:
        raise FileError(f"{path} is malformed: {str(error)[:200]}") from error
    if not graphs:
        raise FileError(f"{path} holds no row.")
    table = (np.asarray(accuracies) * 100).reshape(-1, 2, len(_RUNS))
    columns = {}
    for i, split in enumerate(("valid", "test")):
        columns[Column("accuracy", "cifar10", 108, split)] = _f4(table[:, i].mean(axis=1))
        for j, run in enumerate(_RUNS):
            columns[Column("accuracy", "cifar10", 108, split, run)] = _f4(table[:, i, j])
    return write_table(
        target_path(out, name),
        kind="nasbench1shot1",
        name=name,
        release=f"NAS-Bench-1Shot1 space {number}: NAS-Bench-101 at 108 epochs, 3 runs",
        datasets=("cifar10",),
        columns=columns,
        arrays={"graphs": np.asarray(graphs, np.uint32)},
        source={path.name: sha256_of(path)},
        notes=("Architectures without loose ends only.", "Seeds are the runs 1, 2 and 3."),
        extra={"space": number},
    )


def _f4(values: Array) -> Array:
    return values.astype(np.float32)
