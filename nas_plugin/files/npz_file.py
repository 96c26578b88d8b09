"""Arrays from outside: plain numbers and text, in an archive of bounded size."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike
from nas_plugin.files.zip_file import open_zip, read_member

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MAX_ARRAY_BYTES = 4 * 2**30
_PLAIN_KINDS = "biufcSU"
_MAX_HEADER = 10_000


def read_npz(path: PathLike, max_bytes: int = MAX_ARRAY_BYTES) -> dict[str, Array]:
    """Returns all arrays of an npz file; arrays of objects, which would run code, are refused.

    Raises:
        FileError: If it is no such file, an array's header does not fit its data, or the arrays
            would not fit into `max_bytes`.
    """
    found: dict[str, Array] = {}
    with open_zip(path, max_bytes) as archive:
        for member in archive.infolist():
            name = member.filename
            where = f"{path}: '{name[:80]}'"
            if not name.endswith(".npy") or name[:-4] in found:
                raise FileError(
                    f"{where} is what numpy.savez does not write: each name ends with .npy and "
                    "appears once. Save it with numpy.savez."
                )
            found[name[:-4]] = _array(read_member(archive, member, path), where)
    return found


def npz_names(path: PathLike) -> set[str]:
    """Returns the names of the arrays of an npz file.

    Raises:
        FileError: If it is no such file.
    """
    with open_zip(path, MAX_ARRAY_BYTES) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def _array(data: bytes, where: str) -> Array:
    """Returns the array of a npy file, whose header is believed only where the data fit it."""
    import numpy as np

    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = read(stream, max_header_size=_MAX_HEADER)
        data = data[stream.tell() :]
        if dtype.kind not in _PLAIN_KINDS or not dtype.itemsize:
            raise FileError(
                f"{where} has the type {str(dtype)[:80]}; numbers and text are accepted. Save its "
                "fields as arrays of their own."
            )
        # Python's integers: in 64 bits the product of a forged header wraps round.
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"its header announces {shape} of {dtype}, {len(data)} bytes follow")
        array = np.frombuffer(bytearray(data), dtype)
        if dtype.kind == "U":
            array.tolist()  # raises ValueError for a code point that does not exist
        return array.reshape(shape, order="F" if by_columns else "C")
    except FileError:
        raise
    except Exception as error:  # numpy raises many kinds for a damaged header
        raise FileError(
            f"{where} is no plain array ({str(error)[:200]}). Save it with numpy.savez, without "
            "object arrays."
        ) from error
