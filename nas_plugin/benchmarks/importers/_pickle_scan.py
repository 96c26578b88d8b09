"""Walking through a pickle's opcodes before it is read, without building anything.

Python's unpickler makes its memo as large as the largest index that a file states, so that one
changed byte asks for gigabytes; it makes room for text before it notices that the file ends; and
a dictionary key of tuples nested 200,000 deep overflows the stack of the interpreter.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct

_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_LINES = {"stringnl_noescape_pair": 2}
_OPCODES = {op.code.encode("latin1"): op for op in pickletools.opcodes}
_STOP, _PUT, _LONG_BINPUT = b".", b"p", b"r"
_TUPLES = (b"t", b"\x85", b"\x86", b"\x87")
_MAX_TUPLES = 100_000  # an official record with all its weights has about 40,000


def _fixed() -> re.Pattern[bytes]:
    """Matches a run of opcodes whose argument has a fixed length and needs no look."""
    by_length: dict[int, bytes] = {}
    for code, op in _OPCODES.items():
        length = 0 if op.arg is None else op.arg.n
        if length >= 0 and code not in (_STOP, _LONG_BINPUT, *_TUPLES):
            by_length[length] = by_length.get(length, b"") + re.escape(code)
    parts = [b"[%s].{%d}" % (codes, length) for length, codes in by_length.items()]
    return re.compile(b"(?:" + b"|".join(parts) + b"){1,500}", re.DOTALL)


_FIXED = _fixed()


def end_of_pickle(data: bytes, start: int = 0) -> int:
    """Returns the position behind the pickle that begins at `start`.

    Raises:
        pickle.UnpicklingError: If an opcode is unknown, an argument passes the end, a memo index
            is larger than the file, or there are too many tuples.
    """
    position, tuples = start, 0
    while True:
        if run := _FIXED.match(data, position):
            position = run.end()
        code = data[position : position + 1]
        if code == _STOP:
            return position + 1
        if code not in _OPCODES:
            raise pickle.UnpicklingError(
                f"unknown opcode {code!r} at byte {position}" if code else "it is truncated"
            )
        tuples += code in _TUPLES
        if tuples > _MAX_TUPLES:
            raise pickle.UnpicklingError(f"more than {_MAX_TUPLES:,} tuples")
        position = _past(data, position + 1, code)
        if position > len(data):
            raise pickle.UnpicklingError("it is truncated, or states a length past its end")


def _past(data: bytes, position: int, code: bytes) -> int:
    """Returns the position behind the argument of an opcode."""
    arg = _OPCODES[code].arg
    if arg is None or arg.n >= 0:  # only short of the end, or LONG_BINPUT
        length = 0 if arg is None else arg.n
        if code == _LONG_BINPUT:
            _check_memo(int.from_bytes(data[position : position + 4], "little"), data)
        return position + length
    if arg.n == pickletools.UP_TO_NEWLINE:
        begin = position
        for _ in range(_LINES.get(arg.name, 1)):
            position = data.find(b"\n", position) + 1
            if position == 0:
                return len(data) + 1
        if code == _PUT:
            _check_memo(int(data[begin : position - 1][:20]), data)
        return position
    prefix = _LENGTHS[arg.n]
    size = struct.calcsize(prefix)
    if position + size > len(data):
        return len(data) + 1
    length = int(struct.unpack_from(prefix, data, position)[0])
    if length < 0:
        raise pickle.UnpicklingError("a negative length")
    return position + size + length


def _check_memo(index: int, data: bytes) -> None:
    if not 0 <= index <= len(data):
        raise pickle.UnpicklingError(f"memo index {index} in a file of {len(data)} bytes")
