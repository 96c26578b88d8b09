from __future__ import annotations

import pytest

from nas_plugin.benchmarks import UserTable
from nas_plugin.benchmarks.importers import import_user_table
from nas_plugin.benchmarks.read import read_benchmark


@pytest.fixture(scope="session")
def table_path(tmp_path_factory):
    """A table of 16 architectures at 1 and 3 epochs: more layers and width are better."""
    folder = tmp_path_factory.mktemp("own")
    lines = ["op,width,epochs,valid_accuracy,test_accuracy,seconds,params,zc_guess"]
    for op, gain in (("conv", 9), ("pool", 3), ("skip", 1), ("none", 0)):
        for width in (8, 16, 32, 64):
            for epochs in (1, 3):
                valid = 40 + gain + width / 8 + epochs
                row = [op, width, epochs, valid, 100 - valid, 10 * epochs, width * 100, -gain]
                lines.append(",".join(map(str, row)))
    (folder / "own.csv").write_text("\n".join(lines) + "\n")
    return import_user_table(folder / "own.csv", folder / "own.nastab")


@pytest.fixture(scope="session")
def table(table_path) -> UserTable:
    return read_benchmark(table_path)
