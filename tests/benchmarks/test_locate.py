from __future__ import annotations

import shutil

import pytest

from nas_plugin.benchmarks import data_folders, open_benchmark
from nas_plugin.benchmarks.table import Table
from nas_plugin.errors import BenchmarkError, FileError, UnknownNameError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nas_plugin" / "benchmarks"


def test_a_raw_file_is_imported_once_into_the_cache(shared, monkeypatch, own_cache):
    monkeypatch.setenv("NAS_PLUGIN_DATA", str(shared))
    first = open_benchmark("nasbench1shot1-space1")
    written = own_cache / "nasbench1shot1-space1.nastab"
    stamp = written.stat().st_mtime_ns
    again = open_benchmark("nasbench1shot1")
    assert again.name == first.name == "nasbench1shot1-space1"
    assert written.stat().st_mtime_ns == stamp


def test_compact_files_are_found_by_name_in_the_data_folder(nasbench201, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(nasbench201.table.path, folder / "nasbench201-nats1.0.nastab")
    monkeypatch.setenv("NAS_PLUGIN_DATA", f"{tmp_path / 'nothing'}:{folder}")
    assert data_folders()[1] == folder
    found = open_benchmark("nasbench201")
    assert found.table.path.parent == folder


def test_a_path_opens_directly(nasbench201):
    assert open_benchmark(nasbench201.table.path).name == "nasbench201-nats1.0"


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'nasbench201.*Known: nasbench101"):
        open_benchmark("nasbench20")


def test_a_known_name_without_file_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("NAS_PLUGIN_DATA", str(tmp_path / "data"))
    with pytest.raises(BenchmarkError, match=r"nasbench101-full\.nastab in .*data.*bench import"):
        open_benchmark("nasbench101")


def test_a_missing_path_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        open_benchmark(tmp_path / "gone.nastab")


def test_a_damaged_table_is_refused_on_opening(nasbench201, tmp_path):
    content = bytearray(nasbench201.table.path.read_bytes())
    content[100] ^= 1
    (tmp_path / "bad.nastab").write_bytes(content)
    with pytest.raises(FileError, match="SHA-256"):
        open_benchmark(tmp_path / "bad.nastab")


def test_opening_reads_the_release_from_the_file(nasbench201_old):
    assert Table(nasbench201_old.table.path).header["name"] == "nasbench201-v1.1"
