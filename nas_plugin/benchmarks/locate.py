"""Finding a benchmark by name or path."""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path

from nas_plugin.benchmarks.benchmark import Benchmark
from nas_plugin.benchmarks.read import cache_folder, read_benchmark
from nas_plugin.benchmarks.table import SUFFIX
from nas_plugin.errors import BenchmarkError, UnknownNameError

#: Short names; the release that they mean is part of the name of what opens.
ALIASES = {
    "nasbench201": "nasbench201-nats1.0",
    "nats-tss": "nasbench201-nats1.0",
    "nasbench101": "nasbench101-full",
    "nasbench1shot1": "nasbench1shot1-space1",
}

#: Full names that raw files next to the project can be imported for on first use.
SOURCES = {
    "nasbench201-nats1.0": "nasbench201/nasbench201.npz",
    "nasbench201-v1.1": "nasbench201/nasbench201.npz",
    "nasbench1shot1-space1": "nasbench_other/nasbench1shot1_space1.csv.gz",
    "nasbench1shot1-space2": "nasbench_other/nasbench1shot1_space2.csv.gz",
}

#: Full names whose official files must be imported by hand.
NEED_FILES = (
    "nasbench101-full",
    "nasbench101-only108",
    "nasbench1shot1-space3",
    "nasbench201-v1.0",
)

_log = logging.getLogger(__name__)


def data_folders() -> list[Path]:
    """Returns the folders that are searched, first to last.

    ``$NAS_PLUGIN_DATA`` (several, separated as in ``$PATH``), the cache, and ``../shared/data``
    beside a checkout.
    """
    given = os.environ.get("NAS_PLUGIN_DATA", "")
    folders = [Path(folder).expanduser() for folder in given.split(os.pathsep) if folder]
    checkout = Path(__file__).resolve().parents[2]
    return [*folders, cache_folder(), checkout.parent / "shared" / "data"]


def known_names() -> list[str]:
    """Returns every name that could open: published releases and the tables that are there."""
    found = {
        path.name.removesuffix(SUFFIX)
        for folder in data_folders()
        for path in folder.glob(f"*{SUFFIX}")
    }
    return sorted(found.union(ALIASES, SOURCES, NEED_FILES))


def open_benchmark(name_or_path: str | os.PathLike[str]) -> Benchmark:
    """Opens a compact table by its path, its full name or a short name.

    A name is looked for in `data_folders`. Where only the raw file of a release is there, it is
    imported into the cache first, which takes about a second once.

    Args:
        name_or_path: ``nasbench201``, ``nasbench201-v1.1``, ``tables/mine.nastab``, …

    Raises:
        UnknownNameError: If there is no such name.
        BenchmarkError: If the name is known but neither table nor raw file is there.
        FileError: If the file is damaged.
    """
    path = Path(name_or_path)
    if path.suffix == SUFFIX or path.is_file():
        return read_benchmark(path)
    name = ALIASES.get(str(name_or_path), str(name_or_path))
    for folder in data_folders():
        path = folder / f"{name}{SUFFIX}"
        if path.is_file():
            return read_benchmark(path)
    if name not in (*SOURCES, *ALIASES.values(), *NEED_FILES):
        near = difflib.get_close_matches(name, known_names(), n=1)
        raise UnknownNameError(
            f"Unknown benchmark '{name_or_path}'."
            + (f" Did you mean '{near[0]}'?" if near else "")
            + f" Known: {', '.join(known_names())}, or the path of a {SUFFIX} file."
        )
    for folder in data_folders():
        raw = folder / SOURCES.get(name, "")
        if raw.is_file():
            return read_benchmark(_import(raw, name))
    looked = ", ".join(str(folder) for folder in data_folders())
    raise BenchmarkError(
        f"The benchmark '{name}' is not on this machine. Looked for {name}{SUFFIX}"
        + (f" and {SOURCES[name]}" if name in SOURCES else "")
        + f" in {looked}. Import the official files with 'nas-plugin bench import', or set "
        "NAS_PLUGIN_DATA."
    )


def _import(raw: Path, name: str) -> Path:
    from nas_plugin.benchmarks.importers import import_benchmark

    target = cache_folder() / f"{name}{SUFFIX}"
    _log.info("importing %s from %s into %s", name, raw, target)
    return import_benchmark(raw, target, release=name)
