"""Data sets of one's own, as arrays in an npz file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_plugin.data.dataset import ArrayDataset, data_sets
from nas_plugin.data.statistics import check_alike
from nas_plugin.errors import DataError
from nas_plugin.files import read_npz

#: What a file may hold beside the samples, and the shape of it.
SETTINGS = {"mean": "(C,)", "std": "(C,)", "crop": "one whole number", "flip": "one truth value"}


@data_sets.register("npz")
def npz(*, root: Path | None, split: str, path: Path | None = None) -> ArrayDataset:
    """Reads ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``inputs`` and ``targets``.

    Images are ``(N, C, H, W)`` or ``(N, H, W)``, uint8 or float. Targets are classes, whole numbers
    ``(N,)``, or floats ``(N, …)`` to be predicted. A file that holds ``inputs`` and
    ``targets`` only is used for both splits, so name one file per split. ``mean``, ``std``,
    ``crop`` and ``flip`` of the file say how images are normalised and augmented; mean and std are
    computed from the training images if the file lacks them.

    Args:
        root: The file, or the folder of `path`.
        split: ``train`` or ``test``.
        path: The file.

    Raises:
        DataError: If arrays are missing, or their shapes, types or classes do not fit together.
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
    of_train = ("x_train", "y_train") if {"x_train", "y_train"} <= set(arrays) else names
    settings = _settings(arrays, file)
    train = _read(arrays, of_train, file, settings)
    if names == of_train:
        return train
    stored = [_stored(arrays[name].dtype) for name in (of_train[0], names[0])]
    if stored[0] != stored[1]:
        raise DataError(
            f"{file}: {of_train[0]} holds {stored[0]} and {names[0]} {stored[1]}. Bytes are "
            "divided by 255 and others are not, so the two would be scaled differently: store both "
            "alike."
        )
    found = _read(arrays, names, file, {**settings, **_statistics(train)})
    known = found.num_classes is not None and train.num_classes is not None
    unknown = sorted(set(found.targets.tolist()) - set(train.targets.tolist())) if known else []
    if unknown:
        raise DataError(
            f"{file}: {names[1]} holds the classes {unknown}, which {of_train[1]} lacks. What is "
            "measured must be among what is trained."
        )
    try:
        check_alike(train, found)
    except DataError as error:
        raise DataError(f"{file}: {names[0]} and {of_train[0]} do not fit. {error}") from error
    found.num_classes = train.num_classes
    return found


def _read(
    arrays: Mapping[str, Any], names: tuple[str, str], file: Path, settings: Mapping[str, Any]
) -> ArrayDataset:
    x, y = arrays[names[0]], arrays[names[1]]
    if y.dtype.kind not in "fiu":
        raise DataError(
            f"{file}: {names[1]} must hold whole numbers (classes) or floats, found {y.dtype}."
        )
    if x.dtype.kind not in "fiu":
        raise DataError(f"{file}: {names[0]} must hold numbers, found {x.dtype}.")
    if x.dtype != np.uint8 and not (x.dtype.kind in "iu" and x.ndim in (3, 4)):
        x = x.astype(np.float32)
    inputs = torch.from_numpy(x)
    if inputs.dim() == 3:
        inputs = inputs[:, None]
    if inputs.dim() == 4 and inputs.shape[3] in (1, 3) and inputs.shape[1] not in (1, 3):
        raise DataError(
            f"{file}: {names[0]} has the shape {tuple(x.shape)}, which looks like (N, H, W, C). "
            "Images are (N, C, H, W): transpose them by x.transpose(0, 3, 1, 2)."
        )
    targets = torch.from_numpy(y.astype(np.float32 if y.dtype.kind == "f" else np.int64))
    return ArrayDataset(inputs, targets, name=str(file), **settings)


def _settings(arrays: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Returns what the file says about normalising and augmenting."""
    found: dict[str, Any] = {}
    for name in [name for name in SETTINGS if name in arrays]:
        array = arrays[name]
        scalar = name in ("crop", "flip")
        kinds = {"crop": "iu", "flip": "b"}.get(name, "f")
        if array.dtype.kind not in kinds or array.ndim != (0 if scalar else 1):
            raise DataError(
                f"{file}: {name} must be {SETTINGS[name]}, found {array.dtype} of shape "
                f"{array.shape}."
            )
        found[name] = array.item() if scalar else [float(value) for value in array]
    if found.get("crop", 0) < 0:
        raise DataError(f"{file}: crop must not be negative, found {found['crop']}.")
    return found


def _stored(dtype: np.dtype[Any]) -> str:
    if dtype == np.uint8:
        return "bytes (uint8)"
    return "fractions (floats)" if dtype.kind == "f" else f"whole numbers ({dtype})"


def _statistics(train: ArrayDataset) -> dict[str, Any]:
    found = train.statistics()
    return {} if found is None else {"mean": found[0], "std": found[1]}
