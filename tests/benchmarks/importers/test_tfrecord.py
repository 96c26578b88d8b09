from __future__ import annotations

import random

import pytest

from nas_plugin.benchmarks.importers.protobuf import read_fields
from nas_plugin.benchmarks.importers.tfrecord import crc32c, masked_crc32c, read_tfrecord
from nas_plugin.errors import FileError

record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")


@pytest.fixture
def records():
    rng = random.Random(0)
    return [rng.randbytes(rng.randrange(300)) for _ in range(40)]


@pytest.fixture
def path(tmp_path, records):
    """A file that another implementation wrote."""
    path = tmp_path / "x.tfrecord"
    with path.open("wb") as stream:
        writer = record_writer.RecordWriter(stream)
        for record in records:
            writer.write(record)
    return path


def test_crc32c_has_the_published_check_values():
    # RFC 3720, B.4, and the check value of the CRC catalogue.
    messages = [b"123456789", bytes(32), b"\xff" * 32, bytes(range(32)), b""]
    expected = [0xE3069283, 0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0]
    assert crc32c(messages).tolist() == expected
    assert masked_crc32c([b""]).tolist() == [0xA282EAD8]


def test_records_of_another_writer_are_read(path, records):
    assert list(read_tfrecord(path)) == records


def test_every_flipped_byte_is_found(path):
    content = path.read_bytes()
    for position in range(0, len(content), 61):
        damaged = bytearray(content)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        with pytest.raises(FileError):
            list(read_tfrecord(path))


def test_truncated_files_are_refused(path):
    content = path.read_bytes()
    for cut in (1, 5, 30):
        path.write_bytes(content[:-cut])
        with pytest.raises(FileError, match="truncated"):
            list(read_tfrecord(path))


def test_a_record_of_absurd_length_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x.tfrecord"
    path.write_bytes((2**62).to_bytes(8, "little") + bytes(4))
    with pytest.raises(FileError, match="is refused"):
        list(read_tfrecord(path))


def test_protobuf_fields_of_every_used_type_are_read():
    message = b"\x08\x96\x01" + b"\x11" + b"\0" * 6 + b"\xf0\x3f" + b"\x1a\x02hi"
    assert list(read_fields(message)) == [(1, 150), (2, 1.0), (3, b"hi")]


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x11\0", b"\x1a\x09hi", b"\x0b", b"\x08" + b"\xff" * 11]
)
def test_malformed_protobuf_is_refused(message):
    with pytest.raises(ValueError, match=r"message|type|number"):
        list(read_fields(message))
