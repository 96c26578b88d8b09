"""Small files that stand for large memories, and flipped bits that a check sum knows."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import torch

from nas_plugin.benchmarks.importers import import_benchmark
from nas_plugin.data.image_folder import ImageFolder
from nas_plugin.errors import CheckpointError, FileError, NasError
from nas_plugin.files import load_checkpoint, read_bytes, read_image, read_tar, read_yaml
from nas_plugin.files.read import MIN_LIMIT
from nas_plugin.profiling.published import latency_by_index

MIB = 2**20


@pytest.fixture
def little_memory():
    """Fails a test that allocates more than the least that any file may unpack to."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MIN_LIMIT


def png(width, height):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["t.csv.gz", "r.pickle.pbz2"])
def test_packed_files_do_not_unpack_without_measure(tmp_path, name, little_memory):
    path = tmp_path / name
    pack = gzip.compress if name.endswith("gz") else bz2.compress
    path.write_bytes(pack(bytes(2 * MIN_LIMIT)))
    assert path.stat().st_size < MIB
    with pytest.raises(FileError, match="holds more than"):
        import_benchmark(path)


def test_a_checkpoint_is_never_unpacked(tmp_path, little_memory):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(2 * MIN_LIMIT)))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(path)

    buffer, packed = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(4)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(packed, "w", 8) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
    payload = packed.getvalue()
    digest = hashlib.sha256(payload).hexdigest().encode()
    path.write_bytes(b"nas_plugin checkpoint 1\n" + digest + b"\n" + payload)
    with pytest.raises(CheckpointError, match="packed data"):
        load_checkpoint(path)


def test_images_are_measured_before_they_are_decoded(tmp_path, little_memory):
    path = tmp_path / "large.png"
    path.write_bytes(png(13_312, 13_312))
    with pytest.raises(FileError, match="13312 x 13312 pixels"):
        read_image(path)


def test_a_picture_that_starts_another_program_is_none(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(FileError, match="cannot be read as an image of the formats"):
        ImageFolder(tmp_path)[0]


def test_every_flipped_bit_of_an_archive_is_noticed(tmp_path):
    rng, path = random.Random(0), tmp_path / "a.tar.gz"
    content = bytes(rng.randrange(256) for _ in range(4000))
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("data_batch_1.bin")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    archive = path.read_bytes()
    assert read_tar(path, MIB) == {"data_batch_1.bin": content}
    for _ in range(400):
        damaged = bytearray(archive)
        place = rng.randrange(10, len(damaged))  # behind the header, whose time is no content
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(FileError):
            assert read_tar(path, MIB) == {"data_batch_1.bin": content}


def test_archives_of_other_packings_are_refused_by_name(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(lzma.compress(bytes(100)))
    with pytest.raises(FileError, match="cifar-10-python"):
        read_tar(path, MIB)


def test_latencies_are_finite(tmp_path):
    np.savez(tmp_path / "l.npz", pixel=np.array([1.0, np.nan]))
    with pytest.raises(FileError, match="no latency"):
        latency_by_index(tmp_path / "l.npz", "pixel", lambda architecture: 0)


def test_a_list_of_many_values_in_yaml_is_refused_soon(tmp_path):
    (tmp_path / "x.yml").write_text("[" + "a," * 200_000 + "a]")
    with pytest.raises(FileError, match="more than 50000 values"):
        read_yaml(tmp_path / "x.yml")


def test_reading_stops_at_the_size_that_is_accepted(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(1000))
    assert len(read_bytes(path, 1000)) == 1000
    with pytest.raises(FileError, match="holds more than 999 bytes"):
        read_bytes(path, 999)
    with pytest.raises(NasError, match="not a file"):
        read_bytes(tmp_path, 999)
