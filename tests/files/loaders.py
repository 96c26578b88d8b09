"""Every loader of files from outside, each with a valid file and what it covers.

`tests/files/test_door.py` finds the functions that read files and fails if one is not covered
here, so that no loader can miss the fuzzer.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

Load = Callable[[Path], Any]


@dataclass(frozen=True)
class Loader:
    """A way into the program for a file.

    Args:
        name: Name of the file that is written; its ending may decide how it is read.
        content: What a valid file holds inside its packing and check sums.
        load: Reads the file.
        covers: ``module:function`` of the functions that read it, without ``nas_plugin.``.
        seal: Puts packing and check sums around a content.
        makes: Writes what must lie beside the file.
    """

    name: str
    content: bytes
    load: Load
    covers: tuple[str, ...]
    seal: Callable[[bytes], bytes] = bytes
    makes: Callable[[Path], None] = lambda folder: None


def _jsonl(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def _zip(name: str, **others: bytes) -> Callable[[bytes], bytes]:
    def seal(content: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, content)
            for other, data in others.items():
                archive.writestr(f"{other}.npy", data)
        return buffer.getvalue()

    return seal


def _tar(name: str) -> Callable[[bytes], bytes]:
    def seal(content: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    return seal


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _image(kind: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _torch(value: Any, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _checkpoint(payload: bytes) -> bytes:
    digest = hashlib.sha256(payload).hexdigest().encode()
    return b"nas_plugin checkpoint 1\n" + digest + b"\n" + payload


def _table(header: bytes) -> bytes:
    length = len(header).to_bytes(8, "little")
    return b"NASTABLE" + length + hashlib.sha256(header).digest() + header + bytes(64)


def _record() -> dict[str, Any]:
    def run() -> dict[str, Any]:
        return {
            "params": 0.5, "flop": 10.0, "latency": [], "epochs": 12,
            "train_times": {i: 1.0 for i in range(12)}, "eval_times": {"x-valid@11": 2.0},
            "train_acc1es": {i: 50.0 for i in range(12)}, "train_losses": {11: 1.0},
            "eval_acc1es": {"x-valid@11": 60.0, "ori-test@11": 61.0},
            "eval_losses": {"x-valid@11": 1.0, "ori-test@11": 1.0},
        }  # fmt: skip

    results = {
        "arch_str": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "dataset_seed": {"cifar10-valid": [777]},
        "all_results": {("cifar10-valid", 777): run()},
    }
    return {"less": results}


def _description(path: Path) -> Any:
    from nas_plugin.description import read_graph

    return read_graph(path)


_DESCRIPTION = b"""\
parameters: {channels: 4, cells: 2}
inputs: {image: [3, 8, 8]}
operations:
  pick: {one_of: [conv_bn_relu, max_pool, {name: zero, keep: true}]}
  cell:
    key: cell
    nodes:
      left: {name: pick, key: left}
      out: {from: {left: , input: relu}, join: {any: 1, key: one}}
nodes:
  stem: {name: conv_bn_relu, kernel: 3, c_out: 2 * channels}
  early: {repeat: cell, times: cells - 1}
  late: {repeat: [cell, {name: conv, groups: c_in // 2}], times: [0, 3]}
  beside: {from: [early, late], join: concat}
  head: [global_avg_pool, {name: linear, c_out: 10}]
output: head
"""


def _nats(path: Path) -> Any:
    from nas_plugin.benchmarks.importers.nasbench201_official import _unpack
    from nas_plugin.benchmarks.importers.nasbench201_records import RecordTable

    return RecordTable(20).add(0, _unpack(path), str(path))


def _torch_record(path: Path) -> Any:
    from nas_plugin.benchmarks.importers.nasbench201_records import RecordTable
    from nas_plugin.benchmarks.importers.torch_file import read_torch_file

    return RecordTable(20).add(0, read_torch_file(path), str(path))


def _import(path: Path) -> Any:
    from nas_plugin.benchmarks import open_benchmark
    from nas_plugin.benchmarks.importers import import_benchmark

    return open_benchmark(import_benchmark(path, path.with_suffix(".nastab")))


def _open_table(path: Path) -> Any:
    from nas_plugin.benchmarks import open_benchmark

    table = open_benchmark(path)
    return len(table), table.columns()


def _tfrecord(content: bytes) -> bytes:
    from nas_plugin.benchmarks.importers.tfrecord import masked_crc32c

    length = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", int(masked_crc32c([part])[0])) for part in (length, content)]
    return length + sums[0] + content + sums[1]


def _model() -> nn.Module:
    from nas_plugin.choice import InputChoice, LayerChoice

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.op = LayerChoice({"a": nn.Identity(), "b": nn.Linear(2, 2)}, key="op")
            self.join = InputChoice(n_candidates=2, n_chosen=1, key="join")

    return Net()


def _space() -> Any:
    from nas_plugin.space.collect import search_space

    return search_space(_model())


def _architecture(path: Path) -> Any:
    from nas_plugin.space.fix import apply_fixed_architecture

    return apply_fixed_architecture(_model(), path)


def _cost_table(path: Path) -> Any:
    from nas_plugin.space.cost_table import CostTable

    table = CostTable.read(path)
    table.check(_space())
    return table({"op": "a", "join": (0,)})


def _profile(path: Path) -> Any:
    from nas_plugin.profiling.published import devices_of, fit_cost_table, latency_by_index

    devices_of(path)
    latency_by_index(path, "pixel", lambda architecture: 0)({})
    return fit_cost_table(path, "pixel", ("x", "y"), ("a", "b"))


def _latency(path: Path) -> Any:
    from nas_plugin.profiling.published import latency_by_index

    return latency_by_index(path, "pixel", lambda architecture: 0)({})


def _nasbench101() -> bytes:
    from nas_plugin.space.encodings.nasbench101 import Graph

    graph = Graph(((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("input", "conv1x1-bn-relu", "output"))
    doubles = [bytes([n << 3 | 1]) + struct.pack("<d", 0.5) for n in (2, 3, 4, 5)]
    evaluation = b"".join(doubles)
    message = (b"\x0a" + bytes([len(evaluation)]) + evaluation) * 3 + b"\x10\x64"
    coded = base64.b64encode(message).decode()
    bits = "".join(str(bit) for row in graph.matrix for bit in row)
    return json.dumps([graph.hash(), 108, bits, ",".join(graph.ops), coded]).encode()


def _data(name: str, split: str = "train", **options: Any) -> Load:
    def load(path: Path) -> Any:
        from nas_plugin.data import load_data

        data = load_data(name, root=path.parent, split=split, **options)
        return data[0], data[len(data) - 1]

    return load


def _npz_data(path: Path) -> Any:
    from nas_plugin.data import load_data

    data = load_data("npz", root=path, split="train")
    return data[0]


def _folder(path: Path) -> Any:
    from nas_plugin.data.image_folder import ImageFolder

    return ImageFolder(path.parent.parent, size=4)[0]


def _folder_settings(path: Path) -> Any:
    from nas_plugin.data.image_folder import _settings

    return _settings(path)


def _glove(path: Path) -> Any:
    from nas_plugin.data.glove import load_glove
    from nas_plugin.data.vocabulary import Vocabulary

    return load_glove(path, Vocabulary.of([["film", "good"]]), 3)


def _log(path: Path) -> Any:
    from nas_plugin.evaluation.log import SearchLog
    from nas_plugin.strategies import strategies

    return SearchLog(path, strategies.get("random")(_space(), seed=0)).replay()


def _log_content() -> bytes:
    import tempfile

    from nas_plugin.evaluation.log import SearchLog
    from nas_plugin.strategies import Outcome, strategies

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        strategy = strategies.get("random")(_space(), seed=0)
        log = SearchLog(path, strategy)
        log.replay()
        for _ in range(2):
            proposal = strategy.ask()
            log.asked(proposal)
            outcome = Outcome({"default": 0.5}, None, 1.0)
            log.told(proposal, outcome)
            strategy.tell(proposal.id, outcome)
        return path.read_bytes()


def _report(path: Path) -> Any:
    from nas_plugin.reporting import write_report

    return write_report(path.parent, path.parent / "report.html")


def _report_log() -> bytes:
    return _jsonl(
        {"step": 1, "epoch": 0, "phase": "train", "time": 1.0, "loss": 2.0, "accuracy": 0.5},
        {"step": 1, "epoch": 0, "phase": "epoch", "time": 1.5, "valid_loss": "nan"},
        {
            "step": 1, "epoch": 0, "phase": "choices", "time": 1.6,
            "probabilities": {"op": {"a": 0.25, "b": 0.75}},
        },
    )  # fmt: skip


def _beside(name: str, content: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return make


def _mosaic(folder: Path) -> None:
    path = folder / "test_batch.webp"
    if not path.exists():
        Image.fromarray(np.zeros((3200, 3200, 3), np.uint8)).save(path, lossless=True)


def _journal(path: Path) -> Any:
    from nas_plugin.experiment.journal import Journal

    Journal(path).close()


def _claims(path: Path) -> Any:
    from nas_plugin.experiment.trial_files import read_record

    return read_record(path.parent.parent, path.name)


def _exits(path: Path) -> Any:
    from nas_plugin.experiment.local_evidence import LocalEvidence

    return LocalEvidence(path.parent.parent).of("t", "FAILED")


def _snapshot(path: Path) -> Any:
    from nas_plugin.experiment.snapshot import read_snapshot

    return read_snapshot(path, 10)


def _config(path: Path) -> Any:
    from nas_plugin.experiment.config import load_config

    return load_config(path)


def _nni_space(path: Path) -> Any:
    from nas_plugin.experiment.space_format import from_nni
    from nas_plugin.files import read_json

    return from_nni(read_json(path))


def _tensor_file(path: Path) -> Any:
    from nas_plugin.files import load_checkpoint

    return load_checkpoint(path)


def _supernet(path: Path) -> Any:
    from nas_plugin.files import load_latest

    return load_latest(path.parent)


_ARCHITECTURE = json.dumps({"op": "b", "join": [1]}, indent=2).encode()
_CSV = b"op,width,valid_accuracy,epochs\nconv,8,90.5,12\npool,16,80.25,12\n"
_ONE_SHOT = (
    b"0100001000000100000000000000000000000000000000000,input,conv1x1-bn-relu,conv1x1-bn-relu,"
    b"conv1x1-bn-relu,conv1x1-bn-relu,conv1x1-bn-relu,output,0.9,0.9,0.9,0.8,0.8,0.8\n"
)
_CIFAR = {
    "data": np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072),
    "labels": [3, 7],
    "fine_labels": [3, 7],
}
_LATENCY = _npz(arch=np.array([[0, 1], [1, 0], [1, 1]]), pixel=np.array([1.0, 2.0, 3.0]))
_DATA = _npz(
    x_train=np.zeros((4, 1, 2, 2), np.uint8), y_train=np.array([0, 1, 0, 1]),
    x_test=np.zeros((2, 1, 2, 2), np.uint8), y_test=np.array([0, 1]),
)  # fmt: skip
_COSTS = {
    "format": "nas_plugin.cost_table/1", "unit": "ms", "fixed": 1.5,
    "costs": {"op": {"a": 0.5, "b": 2}}, "about": {"device": "cpu"},
}  # fmt: skip
_YAML = b"""experimentName: x
searchSpace: {op: {_type: choice, _value: [a, b]}}
trialCommand: python trial.py
trialConcurrency: 1
maxTrialNumber: 10
tuner: {name: Random}
trainingService: {platform: local}
"""
_EXITS = _jsonl(
    {"event": "start", "trial": "t", "pid": 3},
    {"event": "exit", "trial": "t", "pid": 3, "code": 1, "signal": None},
)
_JOURNAL = (
    b'{"n":0,"event":"ask","time":1.0,"sum":"85f53cf3580b3397"}\n'
    b'{"n":1,"event":"end","time":2.0,"sum":"61a4c9459713d3aa"}\n'
)
_SPACE = {"op": {"_type": "layer_choice", "_value": ["a", "b"]}}


def _table_space() -> Any:
    from nas_plugin.space.choice import Choice
    from nas_plugin.space.search_space import SearchSpace

    return SearchSpace([Choice("op", "layer", ("a", "b"))]).to_json()


def _header() -> bytes:
    column = {
        "metric": "accuracy", "dataset": "d", "epochs": 12, "split": "valid", "seed": None,
        "goal": "max",
    }  # fmt: skip
    return json.dumps({
        "format": "nas_plugin.table/1", "kind": "user", "name": "n", "release": "r",
        "datasets": ["d"], "rows": 2, "source": {"a.csv": "0"}, "notes": [],
        "extra": {"space": _table_space()}, "data_bytes": 64,
        "data_sha256": hashlib.sha256(bytes(64)).hexdigest(),
        "arrays": {"choices": {"dtype": "<u2", "shape": [2, 1], "offset": 0}},
        "columns": [{"column": column, "dtype": "<f4", "shape": [2], "offset": 32}],
    }).encode()  # fmt: skip


LOADERS: dict[str, Loader] = {
    "architecture": Loader("a.json", _ARCHITECTURE, _architecture,
        ("space.fix:read_architecture", "experiment.training_script:_by_hand",
         "commands.bench:_architecture")),
    "cost table": Loader("c.json", json.dumps(_COSTS).encode(), _cost_table,
        ("space.cost_table:read",)),
    "latencies": Loader("l.npz", _LATENCY, _profile,
        ("profiling.published:devices_of", "profiling.published:fit_cost_table",
         "profiling.published:_column", "commands.profile:_published")),
    "latency array": Loader("l.npz", _npy(np.array([1.0, 2.0])), _latency,
        ("profiling.published:_column",), _zip("pixel.npy")),
    "nni space": Loader("s.json", json.dumps(_SPACE).encode(), _nni_space,
        ("commands.space:run",)),
    "checkpoint": Loader("a.ckpt", _torch({"a": torch.zeros(2), "b": [1, "x"]}, zipped=True),
        _tensor_file, ("scripts.supernet:read_supernet",), _checkpoint),
    "checkpoint bytes": Loader("step_1.ckpt",
        _checkpoint(_torch({"a": torch.zeros(2)}, zipped=True)), _supernet,
        ("trainers.checkpoints:latest",)),
    "npz": Loader("d.npz", _DATA, _npz_data, ("data.arrays:npz",)),
    "npz array": Loader("d.npz", _npy(np.zeros((2, 3), np.float32)), _npz_data,
        ("data.arrays:npz",), _zip("x_train.npy", y_train=_npy(np.array([0, 1])))),
    "cifar binary": Loader("test_batch.bin", bytes(3073), _data("cifar10", "test"),
        ("data.cifar:_parts",)),
    "cifar pickle": Loader("test_batch", pickle.dumps(_CIFAR, 2), _data("cifar10", "test"),
        ("data.cifar:_python", "data.cifar:_parts")),
    "cifar archive": Loader("cifar-10-python.tar.gz", pickle.dumps(_CIFAR, 2),
        _data("cifar10", "test"), ("data.cifar:_parts",), _tar("test_batch")),
    "cifar mosaic": Loader("labels.npz", _npz(test=np.zeros(10_000, np.uint8)),
        _data("cifar10", "test"), ("data.cifar:_mosaics",),
        makes=_mosaic),
    "idx": Loader("t10k-images-idx3-ubyte.gz",
        b"\0\0\x08\x03" + struct.pack(">III", 1, 2, 2) + bytes(4), _data("mnist", "test"),
        ("data.idx:read_idx",), gzip.compress,
        _beside("t10k-labels-idx1-ubyte", b"\0\0\x08\x01" + struct.pack(">I", 1) + b"\x01")),
    "sentences": Loader("TREC.test.all", b"0 what is this ?\n1 who is it ?\n2 where\n",
        _data("trec", "test"), ("data.text:read_sentences",),
        makes=_beside("TREC.train.all", b"0 what is it ?\n1 who\n")),
    "glove": Loader("g.txt.gz", b"film 1 2 3\ngood 1e-3 2 3\n", _glove, ("data.glove:_fill",),
        gzip.compress),
    **{
        f"image {kind}": Loader(f"class/a.{kind.lower()}", _image(kind), _folder,
            ("data.image_folder:__getitem__",))
        for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
    },
    "image settings": Loader(
        "train/dataset.json",
        b'{"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "crop": 2, "flip": true}',
        _folder_settings,
        ("data.image_folder:_settings",),
    ),
    "nats record": Loader("r.pickle.pbz2", pickle.dumps(_record(), 4), _nats,
        ("benchmarks.importers.nasbench201_official:_unpack",), bz2.compress),
    "torch record": Loader("r.pth", _torch(_record(), zipped=True), _torch_record,
        ("benchmarks.importers.torch_file:_read_zip",)),
    "torch pickle": Loader("r.pth", pickle.dumps(_record(), 2), _torch_record,
        ("benchmarks.importers.torch_file:_read_zip",), _zip("r/data.pkl")),
    "old torch record": Loader("r.pth", _torch(_record(), zipped=False), _torch_record,
        ("benchmarks.importers.torch_file:read_torch_file",)),
    "csv": Loader("t.csv", _CSV, _import, ("benchmarks.importers.user_table:open_text",
        "benchmarks.table:sha256_of")),
    "packed csv": Loader("t.csv.gz", _CSV, _import,
        ("benchmarks.importers.user_table:open_text",), gzip.compress),
    "npz table": Loader("t.npz", _npz(op=np.array(["a", "b"]), accuracy=np.array([1.0, 2.0])),
        _import, ("benchmarks.importers.user_table:_read_npz",
        "benchmarks.importers.detect:_is_nasbench201",
        "benchmarks.importers.nasbench201_npz:import_nasbench201_npz")),
    "nasbench101": Loader("n.tfrecord",
        _nasbench101(), _import,
        ("benchmarks.importers.tfrecord:read_tfrecord",
         "benchmarks.importers.nasbench101_tfrecord:add"), _tfrecord),
    "1shot1": Loader("nasbench1shot1_space1.csv",
        b"adjacency7x7,op0,op1,op2,op3,op4,op5,op6,val_acc1,val_acc2,val_acc3,test_acc1,test_acc2,"
        b"test_acc3\n" + _ONE_SHOT,
        _import, ("benchmarks.importers.user_table:open_text",)),
    "table header": Loader("t.nastab", _header(), _open_table, ("benchmarks.table:_read_header",),
        _table),
    "search log": Loader("log.jsonl", _log_content(), _log, ("evaluation.log:_events",)),
    "run log": Loader("search.jsonl", _report_log(), _report,
        ("reporting.jsonl:read_jsonl", "reporting.html:_object"),
        makes=_beside("architecture.json", _ARCHITECTURE)),
    "journal": Loader("journal.jsonl", _JOURNAL, _journal,
        ("experiment.journal:read_journal", "experiment.journal:_complete_size")),
    "claim": Loader("nas_plugin/claim.json", b'{"parameter": 1, "pid": 2}', _claims,
        ("experiment.trial_files:read_record",)),
    "exits": Loader("nas_plugin/exits.jsonl", _EXITS, _exits,
        ("experiment.local_evidence:_read",)),
    "snapshot": Loader("snapshot.json", b'{"events": 3, "state": {"a": [1, 2.5]}}', _snapshot,
        ("experiment.snapshot:read_snapshot",)),
    "description": Loader("d.yaml", _DESCRIPTION, _description,
        ("description.read:read_graph",)),
    "experiment file": Loader("e.yml", _YAML, _config, ("experiment.config:load_config",)),
}  # fmt: skip

#: Functions whose file is not read as data, each with its reason.
NOT_DATA = {
    "experiment.launch:_await_answer": "prints the end of a log, whatever it holds",
    "experiment.local_evidence:last_words": "keeps the end of a log, whatever it holds",
    "experiment.supervise:_tell_news": "the journal, which `read_journal` reads as a whole",
    "experiment.supervise:last_words": "prints the end of a log, whatever it holds",
}
