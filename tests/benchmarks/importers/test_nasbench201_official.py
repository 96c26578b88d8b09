from __future__ import annotations

import bz2
import collections
import contextlib
import itertools
import os
import pickle
import random

import numpy as np
import pytest

from nas_plugin.benchmarks.importers import import_benchmark
from nas_plugin.benchmarks.importers.torch_file import read_torch_file
from nas_plugin.benchmarks.read import read_benchmark
from nas_plugin.errors import BenchmarkError, FileError, OptionError
from nas_plugin.space.encodings import nasbench201 as encoding

torch = pytest.importorskip("torch")

SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


@pytest.fixture(scope="module")
def archs():
    cells = [encoding.from_ops(ops) for ops in itertools.product(encoding.OPS, repeat=6)]
    strings = [encoding.to_string(cell) for cell in cells]
    random.Random(0).shuffle(strings)
    return strings


def run(name, seed, epochs, accuracy, weights=None):
    """One trial, with the fields and types of the official ones."""
    keys = [f"{split}@{epochs - 1}" for split in SETS[name]]
    every = [f"x-valid@{i}" for i in range(epochs)]
    return {
        "name": name,
        "net_state_dict": weights,
        "train_acc1es": {i: 50.0 for i in range(epochs)},
        "train_acc5es": None,
        "train_losses": {i: 1.0 for i in range(epochs)},
        "train_times": collections.OrderedDict((i, 2.0) for i in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": "", "class_num": 10},
        "params": np.float64(1.5),
        "flop": 30.0,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.01)],
        "eval_names": list(SETS[name]),
        "eval_acc1es": {key: accuracy + i for i, key in enumerate(keys)},
        "eval_losses": {key: 0.5 for key in keys},
        "eval_times": {key: np.float64(0.5) for key in every},
    }


def results(arch, index, epochs, seeds, base, weights=None):
    runs = {(n, s): run(n, s, epochs, base + s / 1000, weights) for n in SETS for s in seeds}
    return {
        "arch_index": index,
        "arch_str": arch,
        "all_results": runs,
        "dataset_seed": {name: list(seeds) for name in SETS},
        "clear_net_done": weights is None,
    }


def record(archs, index, names, weights=None):
    short, long = names
    return {
        short: results(archs[index], index, 12, (111, 777), 10.0 + index, weights),
        long: results(archs[index], index, 200, (777, 888), 50.0 + index, weights),
    }


@pytest.fixture
def nats(tmp_path, archs):
    """A NATS-Bench folder with the records of architectures 0 and 7."""
    folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    folder.mkdir()
    meta = {"meta_archs": archs, "arch2infos": None, "evaluated_indexes": set()}
    with bz2.open(folder / "meta.pickle.pbz2", "wb", 1) as stream:
        pickle.dump(meta, stream, 4)
    for index in (0, 7):
        write(folder / f"{index:06d}.pickle.pbz2", record(archs, index, ("12", "200")))
    return folder


def write(path, data):
    path.write_bytes(bz2.compress(pickle.dumps(data, 4)))


def imported(source, tmp_path, **options):
    return read_benchmark(import_benchmark(source, tmp_path / "out.nastab", **options))


def check(benchmark):
    assert benchmark.query(0, epochs=12) == pytest.approx(10 + (0.111 + 0.777) / 2)
    assert benchmark.query(0, epochs=12, seed=111) == pytest.approx(10.111)
    assert benchmark.query(7, split="test", seed=888) == pytest.approx(57.888)
    # cifar10 tests on the full training set; the others have validation, test and both together.
    values = [benchmark.query(0, dataset="cifar100", split=s) for s in ("valid", "test", "valtest")]
    assert values == pytest.approx([50.8325, 51.8325, 52.8325])
    assert benchmark.query(0, metric="params") == 1_500_000
    assert benchmark.cost(0, epochs=12) == pytest.approx(12 * 2.0 + 12 * 0.5)
    assert benchmark.query(0, metric="trainval_once_seconds", epochs=12) == pytest.approx(24.5)


def test_a_nats_folder_is_read(nats, tmp_path, archs):
    benchmark = imported(nats, tmp_path)
    assert benchmark.name == "nasbench201-nats1.0"
    check(benchmark)
    assert encoding.to_string(benchmark.architecture(7)) == archs[7]
    assert "2 of 15,625" in benchmark.table.header["notes"][0]
    with pytest.raises(BenchmarkError, match="Seeds of that row: none"):
        benchmark.query(1)


def test_a_single_nats_file_is_read(tmp_path, archs):
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    infos = {index: record(archs, index, ("12", "200")) for index in (0, 7)}
    data = {"meta_archs": archs, "arch2infos": infos, "evaluated_indexes": {0, 7}}
    path.write_bytes(bz2.compress(pickle.dumps(data, 4), 1))
    check(imported(path, tmp_path))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pth_file_of_either_form_is_read(tmp_path, archs, zipped):
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    weights = {"w": torch.ones(3), "p": torch.nn.Parameter(torch.ones(2))}
    infos = {index: record(archs, index, ("less", "full"), weights) for index in (0, 7)}
    data = {"meta_archs": archs, "arch2infos": infos, "evaluated_indexes": [0, 7]}
    torch.save(data, path, _use_new_zipfile_serialization=zipped)
    benchmark = imported(path, tmp_path)
    assert benchmark.name == "nasbench201-v1.1"
    check(benchmark)


def test_an_archive_folder_must_be_complete_as_it_has_no_index(tmp_path, archs):
    folder = tmp_path / "NAS-Bench-201-v1_1-archive"
    folder.mkdir()
    torch.save(record(archs, 0, ("less", "full")), folder / "000000-FULL.pth")
    with pytest.raises(FileError, match="must be complete"):
        imported(folder, tmp_path)


def test_the_trusted_seed_decides_where_sizes_disagree(nats, tmp_path, archs):
    data = record(archs, 0, ("12", "200"))
    data["200"]["all_results"]["cifar10", 777]["params"] = 9.0
    write(nats / "000000.pickle.pbz2", data)
    assert imported(nats, tmp_path).query(0, metric="params") == 1_500_000


def _spoil(change):
    def spoil(data):
        change(data)
        return data

    return spoil


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda d: [], "not an official record"),
        (_spoil(lambda d: d["12"].pop("arch_str")), "arch_str"),
        (_spoil(lambda d: d["200"].update(arch_str="|other|")), "names 2 architectures"),
        (_spoil(lambda d: d["12"]["all_results"].clear()), "not an official record"),
        (_spoil(lambda d: d["12"]["all_results"]["cifar10", 777].update(epochs=3)), "3 epochs"),
        (_spoil(lambda d: d["12"]["all_results"]["cifar10", 777].update(params="x")), "ValueError"),
        (_spoil(lambda d: d["12"]["all_results"].update({("cifar10", 777): 5})), "TypeError"),
    ],
)
def test_records_of_another_structure_are_refused(nats, tmp_path, archs, spoil, match):
    write(nats / "000000.pickle.pbz2", spoil(record(archs, 0, ("12", "200"))))
    with pytest.raises(FileError, match=match):
        imported(nats, tmp_path)
    assert not (tmp_path / "out.nastab").exists()


def test_a_record_of_another_architecture_is_refused(nats, tmp_path, archs):
    write(nats / "000003.pickle.pbz2", record(archs, 0, ("12", "200")))
    with pytest.raises(FileError, match="but the index says"):
        imported(nats, tmp_path)


def test_truncated_and_damaged_files_are_refused(nats, tmp_path):
    path = nats / "000000.pickle.pbz2"
    content = path.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 20)):
        path.write_bytes(content[:length])
        with pytest.raises(FileError):
            imported(nats, tmp_path)
    path.write_bytes(b"BZh9 rubbish")
    with pytest.raises(FileError):
        imported(nats, tmp_path)


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_hostile_files_of_every_form_run_nothing(nats, tmp_path):
    marker = tmp_path / "ran"
    write(nats / "000000.pickle.pbz2", Evil(marker))
    sources = [nats]
    for zipped in (True, False):
        path = tmp_path / f"evil{zipped}.pth"
        torch.save({"meta_archs": Evil(marker)}, path, _use_new_zipfile_serialization=zipped)
        sources.append(path)
    for source in sources:
        with pytest.raises(FileError, match=r"posix\.mkdir, which is not allowed"):
            imported(source, tmp_path)
    assert not marker.exists()


def test_a_file_that_unpacks_without_end_is_refused(nats, tmp_path, monkeypatch):
    monkeypatch.setattr("nas_plugin.benchmarks.importers.nasbench201_official.MAX_RECORD", 2**21)
    write(nats / "000000.pickle.pbz2", b"\0" * 2**23)
    with pytest.raises(FileError, match="holds more than 2097152 bytes"):
        imported(nats, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02K\x01.", b"\x80\x02}q\x00."])
def test_files_that_torch_did_not_write_are_refused(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(FileError):
        read_torch_file(path)


def test_flipped_bits_in_a_torch_archive_give_data_or_a_file_error(tmp_path):
    path, rng = tmp_path / "x.pth", random.Random(0)
    torch.save({"a": [1, 2.5, "text"], "b": {"c": np.float64(2)}}, path)
    content = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(FileError):
            read_torch_file(path)


def test_a_release_that_the_source_cannot_be_is_refused(nats, tmp_path):
    with pytest.raises(OptionError, match=r"holds nasbench201-nats1\.0"):
        imported(nats, tmp_path, release="nasbench201-v1.1")


def test_forms_that_are_not_known_are_listed(tmp_path):
    (tmp_path / "table.xlsx").write_text("")
    with pytest.raises(FileError, match=r"Known: \.pth"):
        import_benchmark(tmp_path / "table.xlsx")
    with pytest.raises(FileError, match="does not exist"):
        import_benchmark(tmp_path / "gone.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="holds no record"):
        import_benchmark(tmp_path / "empty")
