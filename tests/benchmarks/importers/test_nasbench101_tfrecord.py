from __future__ import annotations

import base64
import json
import random

import pytest

from nas_plugin.benchmarks.importers import import_benchmark
from nas_plugin.benchmarks.read import read_benchmark
from nas_plugin.errors import ArchitectureError, BenchmarkError, FileError, OptionError
from nas_plugin.space.encodings import nasbench101 as encoding
from nas_plugin.space.encodings.nasbench1shot1 import OneShotSpace
from nas_plugin.space.encodings.nasbench101 import Graph

record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")

EPOCHS = (4, 12, 36, 108)


@pytest.fixture(scope="module")
def messages():
    """ModelMetrics and EvaluationData as the official .proto declares them."""
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="nasbench", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE,
        type_name=".nasbench.EvaluationData",
    )  # fmt: skip
    metrics.field.add(
        name="trainable_parameters", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_INT32
    )
    metrics.field.add(
        name="total_time", number=3, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE
    )
    data = file.message_type.add(name="EvaluationData")
    names = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy")
    for number, name in enumerate((*names, "test_accuracy"), 1):
        data.field.add(name=name, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    data.field.add(
        name="checkpoint_path", number=6, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING
    )
    return message_factory.GetMessages([file], pool=descriptor_pool.DescriptorPool())


@pytest.fixture(scope="module")
def graphs():
    """Ten different cells."""
    space, rng, found = encoding.space(), random.Random(0), {}
    while len(found) < 10:
        graph = encoding.to_graph(space.sample(rng))
        if graph.is_legal():
            found[graph.hash()] = graph.prune()
    return found


def row(messages, text, graph, epochs, repeat):
    metrics = messages["nasbench.ModelMetrics"](trainable_parameters=1000 + len(graph.ops))
    for stage in range(3):
        metrics.evaluation_data.add(
            current_epoch=epochs * stage / 2,
            training_time=10.0 * epochs * stage,
            train_accuracy=0.9,
            validation_accuracy=0.5 + stage / 10 + repeat / 100 + epochs / 10_000,
            test_accuracy=0.4 + stage / 10,
            checkpoint_path="" if stage else "model.ckpt-0",
        )
    bits = "".join(str(bit) for line in graph.matrix for bit in line)
    coded = base64.b64encode(metrics.SerializeToString()).decode()
    return json.dumps([text, epochs, bits, ",".join(graph.ops), coded]).encode()


def write(path, rows):
    with path.open("wb") as stream:
        writer = record_writer.RecordWriter(stream)
        for content in rows:
            writer.write(content)
    return path


@pytest.fixture
def benchmark(tmp_path, messages, graphs):
    rows = [
        row(messages, text, graph, epochs, repeat)
        for repeat in range(3)
        for epochs in EPOCHS
        for text, graph in graphs.items()
    ]
    path = write(tmp_path / "nasbench_full.tfrecord", rows)
    return read_benchmark(import_benchmark(path, tmp_path / "101.nastab"))


def test_every_schedule_repeat_and_split_is_read(benchmark, graphs):
    assert benchmark.name == "nasbench101-full" and len(benchmark) == 10
    for text in graphs:
        assert benchmark.query(text, epochs=12, seed=2) == pytest.approx(72.12)
        assert benchmark.query(text, epochs=108) == pytest.approx(100 * (0.71 + 0.0108))
        assert benchmark.query(text, split="test") == pytest.approx(60)
        assert benchmark.query(text, metric="halfway_accuracy", seed=0) == pytest.approx(61.08)
        assert benchmark.cost(text, epochs=36) == 720


def test_hashes_graphs_and_architectures_name_the_same_row(benchmark, graphs):
    for text, graph in graphs.items():
        row_number = benchmark.index(text)
        assert benchmark.index(graph) == row_number
        assert benchmark.index(benchmark.architecture(row_number)) == row_number
        assert benchmark.graph(row_number) == graph
        assert benchmark.query(row_number, metric="params") == 1000 + len(graph.ops)


def test_graphs_that_are_absent_or_illegal_are_told_apart(benchmark):
    absent = Graph(((0, 1), (0, 0)), ("input", "output"))
    with pytest.raises(BenchmarkError, match="no graph of hash"):
        benchmark.query(absent)
    disconnected = Graph(((0, 0), (0, 0)), ("input", "output"))
    with pytest.raises(ArchitectureError, match="no path"):
        benchmark.query(disconnected)
    assert not benchmark.is_legal(absent) and not benchmark.is_legal(disconnected)
    with pytest.raises(ArchitectureError, match="32 hexadecimal"):
        benchmark.query("abc")


def test_the_file_with_108_epochs_only_has_its_own_name(tmp_path, messages, graphs):
    rows = [row(messages, text, graph, 108, 0) for text, graph in graphs.items()]
    path = write(tmp_path / "nasbench_only108.tfrecord", rows)
    benchmark = read_benchmark(import_benchmark(path, tmp_path / "108.nastab"))
    assert benchmark.name == "nasbench101-only108"
    with pytest.raises(BenchmarkError, match="Allowed: 108"):
        benchmark.query(0, epochs=12)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[:4],
        lambda f: ["0" * 32, *f[1:]],
        lambda f: [5, *f[1:]],
        lambda f: [f[0], "108", *f[2:]],
        lambda f: [*f[:2], f[2][:-1], *f[3:]],
        lambda f: [*f[:2], f[2].replace("1", "2"), *f[3:]],
        lambda f: [*f[:3], f[3].replace("input", "output"), f[4]],
        lambda f: [*f[:4], "!!!"],
        lambda f: [*f[:4], f[4][: len(f[4]) // 8 * 4]],
        lambda f: [*f[:4], ""],
    ],
)
def test_malformed_rows_are_refused(tmp_path, messages, graphs, change):
    text, graph = next(iter(graphs.items()))
    fields = json.loads(row(messages, text, graph, 108, 0))
    path = write(tmp_path / "bad.tfrecord", [json.dumps(change(fields)).encode()])
    with pytest.raises(FileError, match=r"bad\.tfrecord"):
        import_benchmark(path, tmp_path / "bad.nastab")


def test_four_repeats_of_a_graph_are_refused(tmp_path, messages, graphs):
    text, graph = next(iter(graphs.items()))
    path = write(tmp_path / "x.tfrecord", [row(messages, text, graph, 108, i) for i in range(4)])
    with pytest.raises(FileError, match="over 3 repeats"):
        import_benchmark(path, tmp_path / "x.nastab")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "x.tfrecord").write_bytes(b"")
    with pytest.raises(FileError, match="no record"):
        import_benchmark(tmp_path / "x.tfrecord", tmp_path / "x.nastab")


def test_a_one_shot_space_is_drawn_from_the_large_table(tmp_path, messages):
    space = OneShotSpace(1)
    cells = [space.to_graph(cell).prune() for cell in space.without_loose_ends()]
    graphs = {graph.hash(): graph for graph in cells}
    rows = [
        row(messages, text, graph, 108, i % 3) for i, (text, graph) in enumerate(graphs.items())
    ]
    path = write(tmp_path / "nasbench_only108.tfrecord", rows)
    large = import_benchmark(path, tmp_path / "108.nastab")
    with pytest.raises(OptionError, match="nasbench1shot1-space1"):
        import_benchmark(large, tmp_path / "s1.nastab")
    drawn = import_benchmark(large, tmp_path / "s1.nastab", release="nasbench1shot1-space1")
    benchmark = read_benchmark(drawn)
    assert len(benchmark) == 2_487
    for number in range(0, 2_487, 100):
        expected = read_benchmark(large).query(cells[number], metric="params")
        assert benchmark.query(benchmark.architecture(number), metric="params") == expected
    with pytest.raises(FileError, match="does not hold all of space 2"):
        import_benchmark(large, tmp_path / "s2.nastab", release="nasbench1shot1-space2")
    with pytest.raises(FileError, match="not of NAS-Bench-101"):
        import_benchmark(drawn, tmp_path / "x.nastab", release="nasbench1shot1-space1")
