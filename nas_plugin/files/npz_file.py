"""Arrays from outside: plain numbers and text, in an archive of bounded size."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike

if TYPE_CHECKING:
    import numpy as np

MAX_ARRAY_BYTES = 4 * 2**30
_PLAIN_KINDS = "biufcSU"


def read_npz(
    path: PathLike, max_bytes: int = MAX_ARRAY_BYTES
) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Returns all arrays of an npz file; arrays of objects, which would run code, are refused.

    Raises:
        FileError: If it is no such file, or its arrays would not fit into `max_bytes`.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), str(path), max_bytes)
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except FileError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}. Check the path.") from error
    except Exception as error:  # zipfile and numpy raise many kinds for what is damaged
        raise FileError(
            f"{path} is not an npz file of plain arrays ({error}). Save it with numpy.savez, "
            "without object arrays."
        ) from error
    for name, array in found.items():
        # What is no array comes back as bytes; an array of nothing can claim any length.
        if not isinstance(array, np.ndarray) or not array.dtype.itemsize:
            raise FileError(f"{path}: '{name}' is no array. Save it with numpy.savez.")
        if array.dtype.kind not in _PLAIN_KINDS:
            raise FileError(
                f"{path}: '{name}' has the type {array.dtype}; numbers and text are accepted. "
                "Save its fields as arrays of their own."
            )
    return found


def _check_members(members: list[zipfile.ZipInfo], path: str, max_bytes: int) -> None:
    size = sum(member.file_size for member in members)
    if size > max_bytes:
        raise FileError(
            f"{path} unpacks to {size} bytes; {max_bytes} is the most accepted. Check that it is "
            "the file you mean."
        )
    seen: set[str] = set()
    for member in members:
        if member.filename in seen or not member.filename.endswith(".npy"):
            raise FileError(
                f"{path} holds '{member.filename[:80]}', which numpy.savez does not write: each "
                "name ends with .npy and appears once. Save it with numpy.savez."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileError(
                f"{path}: '{member.filename[:80]}' is compressed by a method that numpy does not "
                "use. Save it with numpy.savez_compressed."
            )
        seen.add(member.filename)
