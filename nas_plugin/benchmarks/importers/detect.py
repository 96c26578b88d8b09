"""Which importer reads a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nas_plugin.benchmarks.importers.nasbench1shot1_csv import import_nasbench1shot1_csv
from nas_plugin.benchmarks.importers.nasbench1shot1_from101 import (
    import_nasbench1shot1_from101,
)
from nas_plugin.benchmarks.importers.nasbench101_tfrecord import import_nasbench101_tfrecord
from nas_plugin.benchmarks.importers.nasbench201_npz import import_nasbench201_npz
from nas_plugin.benchmarks.importers.nasbench201_official import import_nasbench201_official
from nas_plugin.benchmarks.importers.user_table import import_user_table, open_text
from nas_plugin.benchmarks.table import SUFFIX
from nas_plugin.errors import FileError
from nas_plugin.files import npz_names

Importer = Callable[[Path, Path | None, str | None], Path]


def import_benchmark(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    release: str | None = None,
) -> Path:
    """Imports a file or folder whose form is recognised.

    NAS-Bench-201 ``.pth`` files and ``*-FULL.pth`` folders, NATS-Bench ``.pickle.pbz2`` files and
    folders, the NAS-Bench-101 ``.tfrecord``, ``nasbench201.npz``, NAS-Bench-1Shot1 ``.csv.gz``,
    and tables of one's own as CSV or npz. From a compact NAS-Bench-101 table the tables of
    NAS-Bench-1Shot1 are drawn (`release` says which space).

    Args:
        source: What to read.
        out: The compact file to write; None is ``<name>.nastab`` in the cache.
        release: The full name of the result where the source leaves it open.

    Returns:
        The compact file.

    Raises:
        FileError: If the source is missing, of unknown form, damaged or not trusted.
        OptionError: If the source does not hold that release.
    """
    path = Path(source)
    target = None if out is None else Path(out)
    if not path.exists():
        raise FileError(f"{path} does not exist.")
    return _importer(path)(path, target, release)


def _importer(path: Path) -> Importer:
    name = path.name.lower()
    if path.is_dir() or name.endswith((".pth", ".pickle.pbz2")):
        return import_nasbench201_official
    if name.endswith(SUFFIX):
        return import_nasbench1shot1_from101
    if name.endswith(".tfrecord"):
        return import_nasbench101_tfrecord
    if name.endswith(".npz"):
        return import_nasbench201_npz if _is_nasbench201(path) else _user
    if name.endswith((".csv", ".csv.gz")):
        with open_text(path, whole=False) as stream:
            first = stream.readline(200)
        return import_nasbench1shot1_csv if first.startswith("adjacency7x7,") else _user
    raise FileError(
        f"{path}: the form is not known by its name. Known: .pth, .pickle.pbz2 and folders of "
        "them, .tfrecord, .npz, .csv, .csv.gz."
    )


def _user(path: Path, out: Path | None, release: str | None) -> Path:
    return import_user_table(path, out, name=release)


def _is_nasbench201(path: Path) -> bool:
    return {"ops", "op_names", "n_seeds"} <= npz_names(path)
