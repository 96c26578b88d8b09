"""MNIST and data sets of its file format (idx)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas_plugin.data.dataset import ArrayDataset, data_sets, find_folder
from nas_plugin.errors import DataError
from nas_plugin.files import read_bytes

MAX_BYTES = 2**30
#: Name → mean and standard deviation of the training pixels.
STATISTICS = {
    "mnist": (0.1307, 0.3081),
    "fashion_mnist": (0.2860, 0.3530),
    "kmnist": (0.1918, 0.3483),
}
STEMS = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> Tensor:
    """Returns the uint8 array of an idx file, packed by gzip or not.

    Raises:
        DataError: If header and content do not fit.
    """
    data = read_bytes(path, MAX_BYTES)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != 8 or not 1 <= data[3] <= 4:
        raise DataError(
            f"{path} is not an idx file of bytes: its header is {data[:4]!r}. Expected two zero "
            "bytes, 8 for unsigned bytes, and the number of dimensions (1 to 4)."
        )
    header = 4 + 4 * data[3]
    sizes = data[4:header]
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    if 0 in shape[1:]:
        raise DataError(f"{path} announces an array {shape}, which holds nothing.")
    # Python's integers: in 64 bits the product of a forged header wraps round.
    size = math.prod(shape) if len(sizes) == header - 4 else -1
    if size != len(data) - header:
        raise DataError(
            f"{path} is cut off or damaged: its header announces an array {shape}, but "
            f"{max(0, len(data) - header)} bytes follow. Get the file anew."
        )
    array = np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)
    return torch.from_numpy(array.copy())


def _idx_set(name: str, root: Path | None, split: str) -> ArrayDataset:
    stem = STEMS[split]
    files = [f"{stem}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    names = [file + ending for ending in ("", ".gz") for file in files]
    folder = find_folder(root, (name, f"{name}/raw", name.upper(), f"{name.upper()}/raw"),
                         names, name)  # fmt: skip
    images, labels = (read_idx(_either(folder, file, name)) for file in files)
    if images.dim() != 3 or labels.dim() != 1:
        raise DataError(f"{folder}: images must have 3 dimensions and labels 1.")
    mean, std = STATISTICS[name]
    flip = name == "fashion_mnist"
    return ArrayDataset(
        images[:, None], labels, mean=(mean,), std=(std,), crop=2, flip=flip, name=name
    )


def _either(folder: Path, file: str, name: str) -> Path:
    for found in (folder / file, folder / f"{file}.gz"):
        if found.exists():
            return found
    raise DataError(f"The data set '{name}' in {folder} lacks {file} (or {file}.gz).")


@data_sets.register("mnist")
def mnist(*, root: Path | None, split: str) -> ArrayDataset:
    """Reads MNIST: 60,000 and 10,000 images of 28x28 pixels (LeCun et al. 1998)."""
    return _idx_set("mnist", root, split)


@data_sets.register("fashion_mnist")
def fashion_mnist(*, root: Path | None, split: str) -> ArrayDataset:
    """Reads Fashion-MNIST, of MNIST's form (Xiao et al. 2017)."""
    return _idx_set("fashion_mnist", root, split)


@data_sets.register("kmnist")
def kmnist(*, root: Path | None, split: str) -> ArrayDataset:
    """Reads Kuzushiji-MNIST, of MNIST's form (Clanuwat et al. 2018)."""
    return _idx_set("kmnist", root, split)
