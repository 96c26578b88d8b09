"""Archives of arrays from outside."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nas_plugin.errors import FileError
from nas_plugin.files import read_npz


def npy(shape: str, descr: str = "'<f4'", data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def write(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numbers_and_text_come_back(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), y=np.array(["ab", "c"]))
    found = read_npz(tmp_path / "a.npz")

    assert sorted(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], [[0, 1, 2], [3, 4, 5]])
    assert found["y"].tolist() == ["ab", "c"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.npy", npy("(1000000000000000,)"))], "0 bytes follow"),
        ([("a.npy", npy("(2,)", data=b"1234"))], "4 bytes follow"),
        ([("a.npy", npy("(1000000000000,)", "'|V0'"))], "has the type"),
        ([("a.npy", npy("(1,)", "[('x', '<i4')]", b"1234"))], "has the type"),
        ([("a.npy", npy("(1,)", "'|O'", b"cos\nsystem\n."))], "has the type object"),
        ([("a.npy", npy("__import__('os')"))], "no plain array"),
        ([("a.npy", b"hello")], "no plain array"),
        ([("a.txt", b"hello")], "'a.txt' is what numpy.savez does not write"),
    ],
)
def test_what_is_no_plain_array_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    with pytest.raises(FileError, match=message):
        read_npz(write(tmp_path / "a.npz", *members))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_may_appear_once(tmp_path: Path) -> None:
    member = ("a.npy", npy("(1,)", data=b"1234"))
    with pytest.raises(FileError, match=r"'a\.npy'.*appears once"):
        read_npz(write(tmp_path / "a.npz", member, member))


def test_unpacked_size_and_methods_are_bounded(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100_000, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 2_000
    with pytest.raises(FileError, match="unpacks to 100128 bytes in 1 files; 100000 is"):
        read_npz(tmp_path / "a.npz", max_bytes=100_000)
    write(tmp_path / "bomb.npz", ("x.npy", bytes(2**27)), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match="67108864 is the most"):
        read_npz(tmp_path / "bomb.npz")
    packed = write(tmp_path / "b.npz", ("x.npy", npy("(0,)")), method=zipfile.ZIP_BZIP2)
    with pytest.raises(FileError, match="packed by a method"):
        read_npz(packed)
    with pytest.raises(FileError, match="There is no file"):
        read_npz(tmp_path / "none.npz")


def test_changed_bytes_give_an_error_or_arrays_and_nothing_else(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(4, dtype=np.int16))
    rng = random.Random(0)
    refused = 0
    for i in range(400):
        inside = bytearray(buffer.getvalue())
        if i % 2:  # inside the member, whose checksum is then right
            inside[rng.randrange(len(inside))] = rng.randrange(256)
        file = write(tmp_path / "a.npz", ("x.npy", bytes(inside)))
        if not i % 2:
            outside = bytearray(file.read_bytes())
            outside[rng.randrange(len(outside))] ^= 1 << rng.randrange(8)
            file.write_bytes(outside)
        try:
            read_npz(file)
        except FileError:
            refused += 1
    assert refused > 150
