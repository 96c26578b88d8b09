"""Reading pickles as data: a few opcodes and names are understood, and none of them runs code.

A pickle is a program for a small stack machine. The interpreter here knows the opcodes that build
numbers, text, lists, tuples and dictionaries; the few names that a pickle may ask for stand for
small readers of our own (an ordered dictionary becomes a dictionary, a NumPy scalar a number, a
tensor is dropped). Time and memory stay proportional to the file: keys are text, small integers
or flat tuples of them, since hashing others can take exponential time or overflow the stack, and
what readers copy is counted, since a file may refer to one large value many times.

Python's own unpickler in C is faster, and makes its memo as large as the largest index in a file.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from nas_plugin.errors import FileError

if TYPE_CHECKING:
    import numpy as np

_FORMATS = {
    **{f"f{n}": c for n, c in ((2, "e"), (4, "f"), (8, "d"))},
    **{f"i{n}": c for n, c in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))},
    **{f"u{n}": c for n, c in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))},
    "b1": "?",
}
#: Readers may copy this many times the size of the file.
_MAX_COPIES = 8
#: What broken or hostile input makes the interpreter raise.
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
#: Opcodes that make objects by other ways than REDUCE, or refer outside the file.
_REFUSED = (
    "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BYTEARRAY8",
    "NEXT_BUFFER", "READONLY_BUFFER", "FROZENSET",
)  # fmt: skip
_CODES = {op.name: ord(op.code) for op in pickletools.opcodes}


class _Reader:
    """A callable that a pickle may name; a pickle cannot give it another state."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("the file tries to change a reader")


class _Budget:
    """Counts what readers copy."""

    def __init__(self, size: int) -> None:
        self._left = _MAX_COPIES * size

    def spend(self, size: int) -> None:
        """Raises UnpicklingError once more was copied than a file of its size needs."""
        self._left -= size
        if self._left < 0:
            raise pickle.UnpicklingError("it refers to large values too often")


class _Dtype:
    """The type of NumPy values: one of the plain numbers."""

    __slots__ = ("_format", "_order")

    def __init__(self, name: str) -> None:
        self._format, self._order = _FORMATS[name], "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("an unknown byte order")
        self._order = ">" if state[1] == ">" else "<"

    def unpack(self, raw: bytes) -> float:
        number: float = struct.unpack(self.spelled, raw)[0]
        return number

    @property
    def spelled(self) -> str:
        """The type as `struct` spells it."""
        return self._order + self._format


class PickledArray:
    """The data of a NumPy array, checked against its shape.

    Args:
        budget: Counts the bytes.
    """

    __slots__ = ("_budget", "_state")

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._state: tuple[tuple[int, ...], str, bytes] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, by_columns, raw = state
        if type(shape) is not tuple or type(dtype) is not _Dtype or by_columns:
            raise pickle.UnpicklingError("an array of no plain numbers")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        self._budget.spend(len(raw))
        sizes = [int(n) for n in shape]
        if min(sizes, default=0) < 0 or math.prod(sizes) * struct.calcsize(dtype.spelled) != len(
            raw
        ):
            raise pickle.UnpicklingError(f"an array whose shape does not fit its {len(raw)} bytes")
        self._state = tuple(sizes), dtype.spelled, raw

    def array(self) -> np.ndarray[Any, np.dtype[Any]]:
        """Returns the array.

        Raises:
            FileError: If the pickle gave no data.
        """
        import numpy as np

        if self._state is None:
            raise FileError("A pickled array has no data. Get the file anew.")
        shape, spelled, raw = self._state
        return np.frombuffer(bytearray(raw), spelled).reshape(shape)


class _Discarded:
    """What a tensor, a storage or a device becomes: nothing that could be read."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Ignores the state."""


def _checked_keys(keys: Iterable[Any]) -> None:
    """Raises UnpicklingError unless hashing each key takes a bounded time."""
    for key in keys:
        for part in key if type(key) is tuple else (key,):
            small = type(part) in (int, bool) and -(2**31) <= part < 2**31
            if not small and type(part) not in (str, bytes, float, type(None)):
                raise pickle.UnpicklingError("a key that is no text, small integer or flat tuple")


def _dtype(name: Any, *_: Any) -> _Dtype:
    text = name.decode("ascii") if isinstance(name, bytes) else name
    if not isinstance(text, str) or text not in _FORMATS:
        raise pickle.UnpicklingError("an array or scalar of no plain type")
    return _Dtype(text)


def _scalar(dtype: _Dtype, raw: Any) -> float:
    if type(dtype) is not _Dtype:
        raise pickle.UnpicklingError("a scalar of no plain type")
    return dtype.unpack(raw.encode("latin1") if isinstance(raw, str) else raw)


def _discard(*_: Any) -> _Discarded:
    return _Discarded()


_STORAGES = ("Float", "Double", "Half", "Long", "Int", "Short", "Char", "Byte", "Bool")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")


class _Opcodes(dict[int, Callable[[Any], None]]):
    def __missing__(self, code: int) -> NoReturn:
        raise pickle.UnpicklingError(f"opcode {code:#04x} is unknown or not allowed")


#: Not in the stubs: the interpreter that Python falls back to where the one in C is missing.
_PythonUnpickler: Any = vars(pickle)["_Unpickler"]


class _Interpreter(_PythonUnpickler):  # type: ignore[misc]
    """Python's own interpreter of pickles with fewer opcodes."""

    dispatch = _Opcodes(_PythonUnpickler.dispatch)
    for _name in _REFUSED:
        del dispatch[_CODES[_name]]

    def __init__(self, stream: io.BytesIO, budget: _Budget) -> None:
        super().__init__(stream, encoding="latin1")

        def encode(text: str, encoding: str = "latin1") -> bytes:
            if encoding not in ("latin1", "latin-1"):
                raise pickle.UnpicklingError("an encoding other than latin1")
            budget.spend(len(text))
            return str.encode(text, "latin1")

        def ordered(items: Any = ()) -> dict[Any, Any]:
            budget.spend(len(items))
            pairs = [(key, value) for key, value in items]
            _checked_keys(key for key, _ in pairs)
            return dict(pairs)

        def unique(items: Any = ()) -> set[Any]:
            budget.spend(len(items))
            _checked_keys(items)
            return set(items)

        self._names: Mapping[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): ordered,
            ("_codecs", "encode"): encode,
            **{(module, "set"): unique for module in ("builtins", "__builtin__")},
            ("numpy", "dtype"): _dtype,
            ("numpy", "ndarray"): _discard,
            **{(module, "scalar"): _scalar for module in _MULTIARRAY},
            **{(module, "_reconstruct"): lambda *_: PickledArray(budget) for module in _MULTIARRAY},
            ("torch._utils", "_rebuild_tensor"): _discard,
            ("torch._utils", "_rebuild_tensor_v2"): _discard,
            ("torch._utils", "_rebuild_parameter"): _discard,
            ("torch", "device"): _discard,
            ("torch", "Size"): _discard,
            **{("torch", f"{kind}Storage"): _discard for kind in _STORAGES},
        }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")
        return _Reader(self._names[module, name])

    def persistent_load(self, pid: Any) -> _Discarded:
        return _Discarded()

    def load_setitem(self) -> None:
        _checked_keys(self.stack[-2:-1])
        super().load_setitem()

    dispatch[_CODES["SETITEM"]] = load_setitem

    def load_setitems(self) -> None:
        _checked_keys(self.stack[::2])
        super().load_setitems()

    dispatch[_CODES["SETITEMS"]] = load_setitems

    def load_dict(self) -> None:
        _checked_keys(self.stack[::2])
        super().load_dict()

    dispatch[_CODES["DICT"]] = load_dict

    def load_additems(self) -> None:
        _checked_keys(self.stack)
        super().load_additems()

    dispatch[_CODES["ADDITEMS"]] = load_additems


def read_pickles(data: bytes, n: int, what: str) -> list[Any]:
    """Reads the first n pickles that follow one another.

    Arrays come back as `PickledArray`, tensors as nothing that could be read.

    Args:
        data: Bytes of the file.
        n: Number of pickles.
        what: Name of the file, as errors call it.

    Raises:
        FileError: If one is truncated, malformed or names anything that is not plain data.
    """
    stream, budget = io.BytesIO(data), _Budget(len(data))
    found = []
    for _ in range(n):
        try:
            found.append(_Interpreter(stream, budget).load())
        except _DAMAGE as error:
            shown = str(error)[:200] or type(error).__name__
            raise FileError(
                f"{what} is refused as a pickle: {shown}. Only dictionaries, lists, text and "
                "numbers are read, and nothing in the file is run."
            ) from error
    return found
