"""Tables of one's own, from CSV or npz: a column a choice, a column a metric."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from nas_plugin.benchmarks.importers._target import target_path
from nas_plugin.benchmarks.table import Array, Column, sha256_of, write_table
from nas_plugin.errors import FileError, OptionError
from nas_plugin.files import open_bounded, read_npz
from nas_plugin.space.choice import Choice, Scalar
from nas_plugin.space.search_space import SearchSpace

#: A table of a million rows takes less.
MAX_CSV_BYTES = 512 * 2**20
_SPLITS = ("train", "valid", "test")
_MAX_METRIC = 1e30
_ROLES = ("epochs", "dataset", "seed")
_METRIC = re.compile(
    rf"(({'|'.join(_SPLITS)})_\w+)|accuracy|loss|error|params|flops|(latency|zc)_?\w*|\w*seconds"
)
_STATIC = re.compile(r"params|flops|(latency|zc)_?\w*|\w*seconds")
_LOWER = re.compile(r"loss|error|params|flops|latency|seconds|energy|memory|perplexity")


def import_user_table(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    metrics: Collection[str] = (),
    minimize: Collection[str] = (),
) -> Path:
    """Imports a CSV or npz with one row a result.

    Columns called ``epochs``, ``dataset`` and ``seed`` say what a row's result belongs to; each
    may be absent. Metrics are ``valid_accuracy``, ``test_accuracy``, ``loss``, ``params``,
    ``latency_ms``, ``seconds``, … and whatever `metrics` names; all other columns are choices.
    A metric without ``train_``, ``valid_`` or ``test_`` before it counts as validation, so that
    no test result is taken for a signal or the other way round; parameters, flops, latencies,
    zero-cost scores and seconds belong to no split. ``seconds`` is the simulated cost.

    Args:
        path: The file.
        out: The compact file to write; None is ``<name>.nastab`` in the cache.
        name: The benchmark's name; None is the file's.
        metrics: Names of further columns that are metrics.
        minimize: Names of metrics that are better when lower, beyond losses, sizes and times.

    Returns:
        The compact file.

    Raises:
        FileError: If the file is malformed, has no choice or no metric, or repeats a result.
        OptionError: If `metrics` or `minimize` name an unknown column.
    """
    path = Path(path)
    name = name or path.name.split(".")[0]
    fields = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    for wanted in {*metrics, *minimize} - set(fields):
        raise OptionError(f"{path} has no column '{wanted}'. It has {', '.join(fields)}.")
    measured = [f for f in fields if f not in _ROLES and (f in metrics or _METRIC.fullmatch(f))]
    chosen = [f for f in fields if f not in _ROLES and f not in measured]
    if not measured or not chosen:
        raise FileError(
            f"{path} needs at least one choice and one metric; choices: {chosen}, metrics: "
            f"{measured}. Name metrics with 'metrics' (--metrics on the command line)."
        )
    space = SearchSpace(_choice(path, field, fields[field]) for field in chosen)
    codes = [
        tuple(c.candidates.index(v) for c, v in zip(space.values(), row, strict=True))
        for row in zip(*(fields[field] for field in chosen), strict=True)
    ]
    rows = {code: i for i, code in enumerate(dict.fromkeys(codes))}
    columns = _columns(path, fields, measured, [rows[code] for code in codes], set(minimize))
    datasets = list(dict.fromkeys(c.dataset for c in columns if c.dataset is not None))
    return write_table(
        target_path(None if out is None else Path(out), name),
        kind="user",
        name=name,
        release=f"imported from {path.name}",
        datasets=datasets,
        columns=columns,
        arrays={"choices": np.asarray(list(rows), np.uint16)},
        source={path.name: sha256_of(path)},
        extra={"space": space.to_json()},
    )


@contextmanager
def open_text(path: Path, *, whole: bool = True) -> Iterator[TextIO]:
    """Opens a UTF-8 text file without its byte order mark, unpacked if it is packed.

    Raises:
        FileError: If it cannot be read or is no such text; also from inside the block.
    """
    try:
        with open_bounded(path, MAX_CSV_BYTES, whole=whole) as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path} is not a readable CSV file: {error}.") from error


def _read_csv(path: Path) -> dict[str, list[Scalar]]:
    with open_text(path) as stream:
        table = list(csv.reader(stream, strict=True))
    names = [name.strip() for name in table[0]] if table else []
    if len(table) < 2 or len(set(names)) != len(names) or "" in names:
        raise FileError(f"{path} needs a first line of different column names and a row below.")
    for line, row in enumerate(table[1:], 2):
        if len(row) != len(names):
            raise FileError(f"{path}, line {line}: {len(row)} fields, expected {len(names)}.")
    by_name = zip(names, zip(*table[1:], strict=True), strict=True)
    return {name: _typed([cell.strip() for cell in cells]) for name, cells in by_name}


def _typed(cells: Sequence[str]) -> list[Scalar]:
    """Returns integers or floats if all cells are; empty ones count as NaN beside numbers."""
    try:
        return [int(cell) for cell in cells]
    except ValueError:
        pass
    try:
        return [float(cell or "nan") for cell in cells]
    except ValueError:
        return list(cells)


def _read_npz(path: Path) -> dict[str, list[Scalar]]:
    arrays = read_npz(path, MAX_CSV_BYTES)
    lengths = {key: array.shape for key, array in arrays.items()}
    if not arrays or len(set(lengths.values())) != 1 or any(len(s) != 1 for s in lengths.values()):
        raise FileError(
            f"{path}: every array must be a column of the same length, got {str(lengths)[:400]}."
        )
    complex_ones = [key for key, array in arrays.items() if array.dtype.kind in "cS"]
    if complex_ones:
        raise FileError(
            f"{path}: {complex_ones[:5]} hold complex numbers or bytes. Save numbers or text."
        )
    return {key: array.tolist() for key, array in arrays.items()}


def _choice(path: Path, field: str, cells: Sequence[Scalar]) -> Choice:
    candidates = tuple(dict.fromkeys(cells))
    if any(value == "" or value != value for value in candidates):
        raise FileError(f"{path}: the choice '{field}' is empty in some row; fill every cell.")
    if any(isinstance(v, (int, float)) and abs(v) > _MAX_METRIC for v in candidates):
        raise FileError(
            f"{path}: the choice '{field}' holds a number beyond {_MAX_METRIC:g}. Use smaller ones."
        )
    if len(candidates) > 65_535:
        raise FileError(
            f"{path}: the choice '{field}' has {len(candidates):,} values, over 65,535."
        )
    kind = "layer" if all(isinstance(value, str) for value in candidates) else "value"
    ordered = candidates if kind == "layer" else tuple(sorted(candidates))
    return Choice(field, "layer" if kind == "layer" else "value", ordered)


def _columns(
    path: Path,
    fields: dict[str, list[Scalar]],
    measured: Sequence[str],
    rows: Sequence[int],
    minimize: set[str],
) -> dict[Column, Array]:
    n = len(rows)
    blank: list[Scalar | None] = [None] * n
    epochs, datasets, seeds = (fields.get(role, blank) for role in _ROLES)
    for role, cells in (("epochs", epochs), ("seed", seeds)):
        if any(cell is not None and type(cell) is not int for cell in cells):
            raise FileError(f"{path}: '{role}' must hold whole numbers.")
    columns: dict[Column, Array] = {}
    for field in measured:
        split, metric = _split_of(field)
        goal = "min" if field in minimize or _LOWER.search(metric) else "max"
        for i, value in enumerate(fields[field]):
            if isinstance(value, (str, bool)) or abs(value) > _MAX_METRIC:
                raise FileError(
                    f"{path}, row {i + 1}: the metric '{field}' is {str(value)[:40]}, not a finite "
                    f"number up to {_MAX_METRIC:g}. "
                    "Leave a cell without a result empty (NaN in npz)."
                )
            dataset = None if datasets[i] is None else str(datasets[i]).lower().replace("-", "_")
            key = (dataset, epochs[i], split, seeds[i], goal)
            column = Column(metric, *key)  # type: ignore[arg-type]
            values = columns.setdefault(column, np.full(max(rows) + 1, np.nan))
            if values[rows[i]] == values[rows[i]] and values[rows[i]] != value:
                raise FileError(
                    f"{path}, row {i + 1}: a second {field} for the same architecture and {column}."
                )
            values[rows[i]] = value
    columns.update(_means(columns))
    return columns


def _means(columns: dict[Column, Array]) -> dict[Column, Array]:
    """Averages over the seeds where there are some."""
    groups: dict[Column, list[Array]] = {}
    for c, values in columns.items():
        if c.seed is not None:
            mean = Column(c.metric, c.dataset, c.epochs, c.split, None, c.goal)
            groups.setdefault(mean, []).append(values)
    means = {}
    for column, runs in groups.items():
        stack = np.stack(runs)
        known = ~np.isnan(stack)
        total = np.where(known, stack, 0.0).sum(axis=0)
        n = known.sum(axis=0)
        means[column] = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return means


def _split_of(field: str) -> tuple[str | None, str]:
    prefix, _, rest = field.partition("_")
    if prefix in _SPLITS and rest:
        return prefix, rest
    if field == "seconds":
        return None, "cost_seconds"
    return (None if _STATIC.fullmatch(field) else "valid"), field
