"""The official NAS-Bench-201 and NATS-Bench topology files and folders.

Their structure (NAS-Bench-201 `api_201.py`, NATS-Bench `api_topology.py`)::

    {"meta_archs": [string, …], "evaluated_indexes": …, "arch2infos": {index: record, …}}
    record  {"less" | "12": results, "full" | "200": results}
    results {"arch_str": …, "dataset_seed": {dataset: [seed, …]},
             "all_results": {(dataset, seed): run, …}}
    run     {"epochs", "params", "flop", "latency", "train_times", "train_acc1es",
             "train_losses", "eval_acc1es": {"x-valid@11": …}, "eval_losses", "eval_times"}

A folder holds one record per file. The published single files of all records would take about
28 GB of memory and are refused by their size; use the folders that were published beside them
(``NATS-tss-v1_0-3ffb9-simple``, ``NAS-Bench-201-v1_1-096897-archive``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nas_plugin.benchmarks.importers._target import choose_release, target_path
from nas_plugin.benchmarks.importers.nasbench201_records import RecordTable
from nas_plugin.benchmarks.importers.torch_file import MAX_RECORD, read_torch_file
from nas_plugin.benchmarks.table import sha256_of, write_table
from nas_plugin.errors import ArchitectureError, FileError
from nas_plugin.files import read_bytes, read_pickles
from nas_plugin.space.encodings.nasbench201 import KEYS, OPS, from_string, to_ops

_NATS = ("nasbench201-nats1.0",)
_OLD = ("nasbench201-v1.1", "nasbench201-v1.0")
_ROWS = len(OPS) ** len(KEYS)


def import_nasbench201_official(path: Path, out: Path | None, release: str | None) -> Path:
    """Imports a NATS ``.pickle.pbz2`` or folder, or a NAS-Bench-201 ``.pth`` or folder.

    Architectures that a folder does not hold stay without values; the header's notes say how
    many there are.

    Raises:
        FileError: If a file is missing, damaged, of another structure, or not plain data.
        OptionError: If the source cannot be that release.
    """
    nats = path.name.endswith(".pbz2") or (path / "meta.pickle.pbz2").is_file()
    name = choose_release(path, release, _NATS if nats else _old_releases(path))
    archs, records = _read_nats(path) if nats else _read_old(path)
    table = RecordTable(_ROWS)
    order: dict[int, str] = {}
    for index, record in records:
        if type(index) is not int or not 0 <= index < _ROWS:
            raise FileError(
                f"{path}: a record has the index {index if type(index) is int else type(index)}, "
                f"expected a number below {_ROWS}."
            )
        order[index] = table.add(index, record, f"{path}, architecture {index}")
        if archs and order[index] != archs[index]:
            raise FileError(
                f"{path}: record {index} is of {order[index][:80]}, but the index says "
                f"{archs[index][:80]}."
            )
    if not order:
        raise FileError(f"{path} holds no record.")
    archs = archs or [order.get(i, "") for i in range(_ROWS)]
    return write_table(
        target_path(out, name),
        kind="nasbench201",
        name=name,
        release=f"{name}, imported from the official {path.name}",
        datasets=("cifar10", "cifar100", "imagenet16_120"),
        columns=table.columns(),
        arrays={"ops": _ops(path, archs)},
        source={path.name: sha256_of(path)} if path.is_file() else {path.name: "folder"},
        notes=(
            f"{len(order):,} of {_ROWS:,} architectures have records.",
            "'valtest' of cifar100 and imagenet16_120 is validation and test images together.",
        ),
    )


def _old_releases(path: Path) -> tuple[str, ...]:
    return _OLD[::-1] if "v1_0" in path.name else _OLD


def _ops(path: Path, archs: list[str]) -> Any:
    try:
        ops = [[OPS.index(op) for op in to_ops(from_string(text))] for text in archs]
    except ArchitectureError as error:
        raise FileError(
            f"{path} does not give the string of every architecture: {error} Without an index of "
            "all architectures, a folder must be complete."
        ) from error
    return np.asarray(ops, np.uint8)


def _read_nats(path: Path) -> tuple[list[str], Iterator[tuple[Any, Any]]]:
    if path.is_file():
        return _whole(path, _unpack(path))
    archs = _archs(path, _unpack(path / "meta.pickle.pbz2"))
    files = {
        int(m[1]): f for f in path.iterdir() if (m := re.fullmatch(r"(\d+)\.pickle\.pbz2", f.name))
    }
    return archs, ((i, _unpack(files[i])) for i in sorted(files))


def _read_old(path: Path) -> tuple[list[str], Iterator[tuple[Any, Any]]]:
    if path.is_file():
        return _whole(path, read_torch_file(path))
    files = {
        int(m[1]): f for f in path.iterdir() if (m := re.fullmatch(r"(\d+)-FULL\.pth", f.name))
    }
    return [], ((i, read_torch_file(files[i])) for i in sorted(files))


def _whole(path: Path, data: Any) -> tuple[list[str], Iterator[tuple[Any, Any]]]:
    archs = _archs(path, data)
    infos = data.get("arch2infos")
    if not isinstance(infos, dict):
        raise FileError(f"{path}: 'arch2infos' is {type(infos).__name__}, not a dictionary.")
    return archs, iter(infos.items())


def _archs(path: Path, data: Any) -> list[str]:
    archs = data.get("meta_archs") if isinstance(data, dict) else None
    if not isinstance(archs, list) or len(archs) != _ROWS:
        raise FileError(f"{path}: 'meta_archs' must list {_ROWS:,} strings.")
    if not all(isinstance(text, str) for text in archs):
        raise FileError(f"{path}: 'meta_archs' holds something else than strings.")
    return archs


def _unpack(path: Path) -> Any:
    return read_pickles(read_bytes(path, MAX_RECORD), 1, str(path))[0]
