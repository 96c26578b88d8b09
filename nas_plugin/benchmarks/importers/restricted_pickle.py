"""Reading pickles as data: only known names are understood, and none of them runs code.

A pickle names what it wants called. Here every name outside a short list is refused before
anything is looked up, and the names on the list stand for small readers of our own: an ordered
dictionary becomes a dictionary, a NumPy scalar a Python number, a tensor is dropped.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from nas_plugin.benchmarks.importers._pickle_scan import end_of_pickle
from nas_plugin.errors import FileError

_FORMATS = {
    **{f"f{n}": c for n, c in ((2, "e"), (4, "f"), (8, "d"))},
    **{f"i{n}": c for n, c in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))},
    **{f"u{n}": c for n, c in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))},
    "b1": "?",
}
#: What broken or hostile input makes the unpickler raise.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    OSError,
    struct.error,
)


class _Reader:
    """A callable that a pickle may name; a pickle cannot give it another state."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("the file tries to change a reader")


class _Dtype:
    """The type of a NumPy scalar: one of the plain numbers."""

    __slots__ = ("_format", "_order")

    def __init__(self, name: str) -> None:
        self._format, self._order = _FORMATS[name], "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"byte order {state[1]!r}")
        self._order = ">" if state[1] == ">" else "<"

    def unpack(self, raw: bytes) -> float:
        number: float = struct.unpack(self._order + self._format, raw)[0]
        return number


class _Discarded:
    """What a tensor, a storage or a device becomes: nothing that could be read."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Ignores the state."""


def _dtype(name: Any, *_: Any) -> _Dtype:
    return _Dtype(name.decode("ascii") if isinstance(name, bytes) else name)


def _scalar(dtype: _Dtype, raw: Any) -> float:
    if type(dtype) is not _Dtype:
        raise pickle.UnpicklingError("a scalar of no plain type")
    return dtype.unpack(raw.encode("latin1") if isinstance(raw, str) else raw)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return str.encode(text, "latin1")


def _ordered(*items: Any) -> dict[Any, Any]:
    return dict(*items)


def _discard(*_: Any) -> _Discarded:
    return _Discarded()


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("_codecs", "encode"): _encode,
    **{(m, "set"): lambda items=(): set(items) for m in ("builtins", "__builtin__")},
    ("numpy", "dtype"): _dtype,
    **{(f"numpy.{m}.multiarray", "scalar"): _scalar for m in ("core", "_core")},
    ("torch._utils", "_rebuild_tensor"): _discard,
    ("torch._utils", "_rebuild_tensor_v2"): _discard,
    ("torch._utils", "_rebuild_parameter"): _discard,
    ("torch", "device"): _discard,
    ("torch", "Size"): _discard,
    **{
        ("torch", f"{kind}Storage"): _discard
        for kind in ("Float", "Double", "Half", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")
        return _Reader(_NAMES[module, name])

    def persistent_load(self, pid: Any) -> _Discarded:
        return _Discarded()


def read_pickle(stream: BinaryIO, what: str) -> Any:
    """Reads one pickle from a stream, which stays right behind it.

    Args:
        stream: Where to read; best buffered.
        what: What errors call it.

    Raises:
        FileError: If it is truncated, malformed or names anything that is not plain data.
    """
    try:
        return _Unpickler(stream, encoding="latin1").load()
    except _DAMAGE as error:
        raise _refused(what, error) from error


def read_pickles(data: bytes, n: int, what: str) -> list[Any]:
    """Reads the first n pickles that follow one another, each walked through beforehand.

    Args:
        data: The bytes.
        n: How many.
        what: What errors call them.

    Raises:
        FileError: As `read_pickle`, or if lengths or memo indices pass the end of `data`.
    """
    found, start = [], 0
    for _ in range(n):
        try:
            end = end_of_pickle(data, start)
        except _DAMAGE as error:
            raise _refused(what, error) from error
        found.append(read_pickle(io.BytesIO(data[start:end]), what))
        start = end
    return found


def _refused(what: str, error: Exception) -> FileError:
    return FileError(
        f"{what} is refused as a pickle: {error or type(error).__name__}. Only dictionaries, "
        "lists, text and numbers are read, and nothing in the file is run."
    )
