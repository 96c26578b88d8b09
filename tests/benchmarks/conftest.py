from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas_plugin.benchmarks.importers import import_benchmark
from nas_plugin.benchmarks.read import read_benchmark

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared():
    """The folder of real data."""
    folder = Path(os.environ.get("NAS_PLUGIN_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "nasbench201" / "nasbench201.npz").is_file():
        pytest.skip(f"no real data in {folder}")
    return folder


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="session")
def nasbench201(shared, tables):
    raw = shared / "nasbench201" / "nasbench201.npz"
    return read_benchmark(import_benchmark(raw, tables / "201.nastab"))


@pytest.fixture(scope="session")
def nasbench201_old(shared, tables):
    raw = shared / "nasbench201" / "nasbench201.npz"
    path = import_benchmark(raw, tables / "201old.nastab", release="nasbench201-v1.1")
    return read_benchmark(path)


@pytest.fixture(scope="session")
def one_shot(shared, tables):
    """Space number → benchmark."""
    raw = {n: shared / "nasbench_other" / f"nasbench1shot1_space{n}.csv.gz" for n in (1, 2)}
    return {
        n: read_benchmark(import_benchmark(path, tables / f"1shot1-{n}.nastab"))
        for n, path in raw.items()
    }
