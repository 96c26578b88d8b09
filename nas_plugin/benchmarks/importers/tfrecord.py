"""TFRecord files without TensorFlow: length, masked CRC-32C, data, masked CRC-32C."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nas_plugin.errors import FileError
from nas_plugin.files import open_bounded

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
_MASK_DELTA = 0xA282EAD8
_BATCH = 4096
MAX_BYTES = 16 * 2**30


def _table() -> npt.NDArray[np.uint32]:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = ((crc >> 1) ^ (crc & 1) * _POLYNOMIAL).astype(np.uint32)
    return crc


_TABLE = _table()


def crc32c(messages: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """Returns the CRC-32C of each message ``(N,)``, all of them byte by byte at once."""
    lengths = np.array([len(message) for message in messages])
    order = np.argsort(-lengths, kind="stable")
    width = int(lengths.max(initial=0))
    grid = np.zeros((len(messages), width), np.uint8)
    for i, position in enumerate(order):
        message = messages[position]
        grid[i, : len(message)] = np.frombuffer(message, np.uint8)
    # Longest first: at byte j the messages that still have one are the first few rows.
    alive = np.searchsorted(-lengths[order], -np.arange(width), side="left")
    crc = np.full(len(messages), 0xFFFFFFFF, np.uint32)
    for j in range(width):
        part = crc[: alive[j]]
        crc[: alive[j]] = _TABLE[(part ^ grid[: alive[j], j]) & 0xFF] ^ (part >> 8)
    result = np.empty_like(crc)
    result[order] = ~crc
    return result


def masked_crc32c(messages: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """Returns the CRC-32C as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(messages)
    return (((crc >> 15) | (crc << 17)) + np.uint32(_MASK_DELTA)).astype(np.uint32)


def read_tfrecord(path: Path, *, max_record: int = 2**20) -> Iterator[bytes]:
    """Yields the records, each after both of its checksums were compared.

    Args:
        path: The file.
        max_record: A longer record is refused before it is read.

    Raises:
        FileError: If the file is missing, truncated or damaged.
    """
    with open_bounded(path, MAX_BYTES, packed=False) as stream:
        for batch in _batches(stream, path, max_record):
            _check(path, batch, [r.length for r in batch], [r.length_crc for r in batch])
            _check(path, batch, [r.data for r in batch], [r.data_crc for r in batch])
            yield from (record.data for record in batch)


@dataclass(frozen=True)
class _Record:
    position: int
    length: bytes
    data: bytes
    length_crc: int
    data_crc: int


def _check(path: Path, batch: list[_Record], parts: list[bytes], stated: list[int]) -> None:
    wrong = masked_crc32c(parts) != np.array(stated, np.uint32)
    if wrong.any():
        position = batch[int(np.argmax(wrong))].position
        raise FileError(f"{path}: the record at byte {position} is damaged (wrong CRC).")


def _batches(stream: BinaryIO, path: Path, max_record: int) -> Iterator[list[_Record]]:
    batch: list[_Record] = []
    position = 0
    while head := stream.read(12):
        if len(head) < 12:
            raise FileError(f"{path} is truncated at byte {position}.")
        (length,) = struct.unpack("<Q", head[:8])
        if length > max_record:
            raise FileError(
                f"{path}: the record at byte {position} states {length:,} bytes; "
                f"more than {max_record:,} is refused."
            )
        body = stream.read(length + 4)
        if len(body) < length + 4:
            raise FileError(f"{path} is truncated in the record at byte {position}.")
        stated = struct.unpack("<I", head[8:])[0], struct.unpack("<I", body[length:])[0]
        batch.append(_Record(position, head[:8], body[:length], *stated))
        position += 16 + length
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
