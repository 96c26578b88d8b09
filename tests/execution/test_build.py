from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys

import pytest
import torch
from torch import nn

from nas_plugin.choice import Cell
from nas_plugin.execution import Dispatcher, build
from nas_plugin.execution.attach import chosen_executors
from nas_plugin.mutators import DartsMutator
from nas_plugin.operations import SepConv

SMALL = """
extern "C" {
int nas_version() { return 1; }
const char* nas_sizes() { return 0; }
const char* nas_forward_float() { return 0; }
const char* nas_forward_double() { return 0; }
const char* nas_backward_float() { return 0; }
const char* nas_backward_double() { return 0; }
}
"""

needs_compiler = pytest.mark.skipif(build.why_not() is not None, reason=str(build.why_not()))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A library of one small source and a cache of its own; what was loaded before is forgotten."""
    sources = tmp_path / "csrc"
    sources.mkdir()
    (sources / "small.cpp").write_text(SMALL)
    monkeypatch.setattr(build, "SOURCES", sources)
    monkeypatch.setenv("NAS_PLUGIN_CACHE", str(tmp_path / "cache"))
    build.library.cache_clear(), build.failure.cache_clear()
    yield sources
    build.library.cache_clear(), build.failure.cache_clear()


class SearchedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell("c", lambda n, p: {"a": SepConv(3, 3), "b": nn.Identity()}, n_nodes=2)

    def forward(self, x):
        return self.cell(x, x)


def search_step() -> list[torch.Tensor]:
    """Returns what a network gives eagerly, and as trainers run it by default."""
    torch.manual_seed(0)
    model = SearchedNet().double().eval()
    mutator = DartsMutator(model)
    mutator.reset()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    outs = []
    for dispatch in (None, Dispatcher(chosen_executors("auto"))):
        mutator.binding.dispatch = dispatch
        outs.append(model(x))
    return outs


def assert_searches_by_other_means(caplog, reason: str) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            eager, automatic = search_step()
            assert torch.allclose(eager, automatic, atol=1e-12)
    said = [record.getMessage() for record in caplog.records if "native" in record.getMessage()]
    assert len(said) == 1 and reason in said[0]


@needs_compiler
def test_a_library_is_built_once_and_found_again(small, capfd):
    tools = build.toolchain()
    path = build.build(tools)
    assert build.built(tools) and "half a minute" in capfd.readouterr().err
    written = path.stat().st_mtime_ns

    assert build.build(build.toolchain()) == path
    assert path.stat().st_mtime_ns == written and capfd.readouterr().err == ""
    assert build.library().nas_version() == build.VERSION


@needs_compiler
def test_other_sources_are_another_library(small):
    before = build.toolchain().key
    (small / "small.cpp").write_text(SMALL + "// changed\n")
    assert build.toolchain().key != before


@needs_compiler
def test_another_compiler_is_another_library(small, tmp_path, monkeypatch):
    before = build.toolchain().key
    other = tmp_path / "other"
    other.symlink_to(build.compiler())
    monkeypatch.setenv("CXX", str(other))
    assert build.toolchain().key != before


@needs_compiler
@pytest.mark.parametrize("damage", ["truncated", "garbage", "checksum missing"])
def test_a_corrupt_file_in_the_cache_is_built_again(small, damage):
    tools = build.toolchain()
    path = build.build(tools)
    good = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif damage == "garbage":
        path.write_bytes(b"\x7fELF" + bytes(100))
    else:
        path.with_suffix(".sha256").unlink()
    assert not build.built(tools)

    assert build.library().nas_version() == build.VERSION
    assert build.built(tools)


@needs_compiler
def test_processes_that_want_it_at_once_build_it_once(small, tmp_path):
    counted = tmp_path / "compiler"
    log = tmp_path / "compiled"
    counted.write_text(
        f'#!/bin/sh\ncase "$*" in *" -c "*) echo x >> {log}; sleep 0.3;; esac\n'
        f'exec {build.compiler()} "$@"\n'
    )
    counted.chmod(counted.stat().st_mode | stat.S_IXUSR)
    code = (
        "import sys; from pathlib import Path; from nas_plugin.execution import build\n"
        f"build.SOURCES = Path({str(small)!r}); print(build.library().nas_version())"
    )
    environment = {**os.environ, "CXX": str(counted)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    printed = [process.communicate(timeout=120)[0] for process in running]

    assert [process.returncode for process in running] == [0, 0, 0]
    assert printed == [b"1\n"] * 3
    assert log.read_text() == "x\n"


@needs_compiler
def test_a_library_of_another_version_is_refused(small):
    (small / "small.cpp").write_text(SMALL.replace("return 1;", "return 7;"))
    with pytest.raises(build.BuildError, match="version 7"):
        build.library()


@needs_compiler
def test_a_build_that_fails_is_said_once_and_the_search_runs(small, caplog):
    (small / "small.cpp").write_text("this is no C++\n")
    assert_searches_by_other_means(caplog, "failed with exit code")


@needs_compiler
def test_a_cache_that_cannot_be_written_is_said_once_and_the_search_runs(
    small, tmp_path, caplog, monkeypatch
):
    # Not by permissions, which root does not feel.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_PLUGIN_CACHE", str(tmp_path / "file" / "cache"))
    assert_searches_by_other_means(caplog, "cannot be written")


def test_without_a_compiler_the_search_runs_and_the_reason_names_it(small, monkeypatch):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert "/no/such/compiler" in str(build.why_not())
    eager, automatic = search_step()
    assert torch.allclose(eager, automatic, atol=1e-12)
    assert "native" not in [executor.name for executor in chosen_executors("auto")]
    with pytest.raises(build.BuildError, match="/no/such/compiler"):
        build.toolchain()


def test_on_other_systems_nothing_is_built(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Linux" in str(build.why_not())


@needs_compiler
def test_the_library_needs_no_torch():
    path = build.build(build.toolchain())
    assert b"torch" not in path.read_bytes() and b"c10" not in path.read_bytes()
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).nas_version())"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(build.VERSION)
