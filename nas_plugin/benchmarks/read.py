"""Opening one table, and where imported ones are kept."""

from __future__ import annotations

import os
from pathlib import Path

from nas_plugin.benchmarks.benchmark import Benchmark, benchmarks
from nas_plugin.benchmarks.table import Table


def cache_folder() -> Path:
    """Returns where imported tables are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "nas_plugin" / "benchmarks"


def read_benchmark(path: str | os.PathLike[str]) -> Benchmark:
    """Opens a compact table with the class that its header names.

    Raises:
        FileError: If the file is damaged or of an unknown kind.
    """
    table = Table(path)
    reader = benchmarks.get(str(table.header["kind"]))
    benchmark: Benchmark = reader(table)
    return benchmark
