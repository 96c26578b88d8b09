"""Data sets of one's own, as arrays in an npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from nas_plugin.data.dataset import ArrayDataset, data_sets
from nas_plugin.errors import DataError
from nas_plugin.files import read_npz


@data_sets.register("npz")
def npz(*, root: Path | None, split: str, path: Path | None = None) -> ArrayDataset:
    """Reads ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``inputs`` and ``targets``.

    Images are ``(N, C, H, W)`` or ``(N, H, W)``, uint8 or float. Where a file holds ``inputs`` and
    ``targets`` only, it is used for both splits, so name one file a split.

    Args:
        root: The file, or the folder of `path`.
        split: ``train`` or ``test``.
        path: The file.

    Raises:
        DataError: If arrays are missing or their shapes do not fit.
    """
    file = path if root is None else root if path is None else root / path
    if file is None:
        raise DataError("The data set 'npz' needs its file: --data my.npz or --data-dir my.npz.")
    arrays = read_npz(file)
    names = (f"x_{split}", f"y_{split}")
    if names[0] not in arrays and "inputs" in arrays:
        names = ("inputs", "targets")
    if any(name not in arrays for name in names):
        raise DataError(
            f"{file} holds {sorted(arrays)}; expected x_{split} and y_{split}, or inputs and "
            "targets."
        )
    x, y = arrays[names[0]], arrays[names[1]]
    if y.dtype.kind not in "iu":
        raise DataError(f"{file}: {names[1]} must hold whole numbers, found {y.dtype}.")
    if x.dtype.kind not in "fiu":
        raise DataError(f"{file}: {names[0]} must hold numbers, found {x.dtype}.")
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
    inputs = torch.from_numpy(x)
    if inputs.dim() == 3:
        inputs = inputs[:, None]
    if inputs.dim() == 4 and inputs.shape[3] in (1, 3) and inputs.shape[1] not in (1, 3):
        raise DataError(
            f"{file}: {names[0]} has the shape {tuple(x.shape)}, which looks like (N, H, W, C). "
            "Images are (N, C, H, W): transpose them by x.transpose(0, 3, 1, 2)."
        )
    found = ArrayDataset(inputs, torch.from_numpy(y.astype(np.int64)), name=str(file))
    # One number of classes for both splits, even where one lacks the last class.
    others = [arrays[n] for n in ("y_train", "y_test") if n in arrays and arrays[n].size]
    found.num_classes = max([found.num_classes, *(int(o.max()) + 1 for o in others)])
    return found
