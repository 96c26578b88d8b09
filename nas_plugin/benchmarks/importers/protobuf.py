"""The wire format of protocol buffers, as far as the NAS-Bench-101 messages use it."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def read_fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yields (field number, value) of a message: integers, doubles, and bytes.

    Raises:
        ValueError: If the message is truncated or has a type that is not read.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        value: int | float | bytes
        if wire == 0:
            value, position = _varint(data, position)
        elif wire == 1:
            value = struct.unpack("<d", _take(data, position, 8))[0]
            position += 8
        elif wire == 2:
            length, position = _varint(data, position)
            value = _take(data, position, length)
            position += length
        elif wire == 5:
            value = struct.unpack("<f", _take(data, position, 4))[0]
            position += 4
        else:
            raise ValueError(f"wire type {wire} of field {number}")
        yield number, value


def _take(data: bytes, position: int, length: int) -> bytes:
    if position + length > len(data):
        raise ValueError("a message ends before its fields do")
    return data[position : position + length]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("a message ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number has more than ten bytes")
