"""CIFAR's python batches, read without running what a pickle may ask for."""

from __future__ import annotations

import codecs
import io
import pickle
from typing import Any

import numpy as np

from nas_plugin.errors import DataError

# What a pickled array is made with; its module moved between NumPy 1 and 2.
_reconstruct = np.zeros(0).__reduce__()[0]

#: All that the official batches refer to.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"A CIFAR batch asks for {module}.{name}, which the official ones do not. It is "
                "not loaded; get the official archive."
            ) from None


def read_batch(data: bytes, name: str) -> dict[str, Any]:
    """Returns the dictionary of a python batch, its keys as text.

    Raises:
        DataError: If it is no such batch, or asks for anything else than arrays.
    """
    try:
        found = _Restricted(io.BytesIO(data), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:  # pickle raises many kinds for damaged input
        raise DataError(
            f"{name} is not a CIFAR batch ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{name} is not a CIFAR batch: it holds a {type(found).__name__}.")
    return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in found.items()}
