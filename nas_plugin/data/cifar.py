"""CIFAR-10 and CIFAR-100, from the official archives or from mosaics of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nas_plugin.data.dataset import ArrayDataset, data_sets, find_folder
from nas_plugin.errors import DataError
from nas_plugin.files import (
    PickledArray,
    read_bytes,
    read_image,
    read_npz,
    read_pickles,
    read_tar,
)

MAX_BYTES = 2**30
MEAN_10, STD_10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
MEAN_100, STD_100 = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
PIXELS = 3 * 32 * 32
TRAIN_10 = tuple(f"data_batch_{i}" for i in range(1, 6))

_Part = tuple["np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", Sequence[int]]


@data_sets.register("cifar10")
def cifar10(*, root: Path | None, split: str) -> ArrayDataset:
    """Reads CIFAR-10: 50,000 and 10,000 images of 32x32 pixels (Krizhevsky 2009).

    The official binary or python archive, its unpacked folder, or lossless mosaics of the six
    batches (``data_batch_1.webp`` … with ``labels.npz``) are understood.
    """
    names = TRAIN_10 if split == "train" else ("test_batch",)
    known = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar10")
    archives = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
    wanted = [names[0] + ending for ending in (".bin", "", ".webp")]
    folder = find_folder(root, known, [*wanted, *archives], "cifar10")
    parts = list(_parts(folder, names, archives, split, label_bytes=1, label_key="labels"))
    return _dataset(parts, MEAN_10, STD_10, "cifar10")


@data_sets.register("cifar100")
def cifar100(*, root: Path | None, split: str) -> ArrayDataset:
    """Reads CIFAR-100 with its 100 fine classes (Krizhevsky 2009), as `cifar10` does."""
    known = ("cifar-100-binary", "cifar-100-python", "cifar100")
    archives = ("cifar-100-binary.tar.gz", "cifar-100-python.tar.gz")
    folder = find_folder(root, known, [f"{split}.bin", split, *archives], "cifar100")
    parts = list(_parts(folder, (split,), archives, split, label_bytes=2, label_key="fine_labels"))
    return _dataset(parts, MEAN_100, STD_100, "cifar100")


def _parts(
    folder: Path,
    names: Sequence[str],
    archives: Sequence[str],
    split: str,
    *,
    label_bytes: int,
    label_key: str,
) -> Iterator[_Part]:
    """Yields images ``(N, 3, 32, 32)`` and labels of each batch."""
    kinds: dict[str, Callable[[str], bytes]] = {}
    for ending in (".bin", "", ".webp"):
        if (folder / (names[0] + ending)).is_file():
            kinds[ending] = lambda name: read_bytes(folder / name, MAX_BYTES)
    for archive in archives:
        if (folder / archive).is_file():
            ending = ".bin" if "binary" in archive else ""
            content = read_tar(folder / archive, MAX_BYTES)
            kinds.setdefault(ending, partial(_member, content, folder))
    if ".bin" in kinds:
        for name in names:
            yield _binary(kinds[".bin"](f"{name}.bin"), label_bytes, f"{folder}/{name}.bin")
    elif "" in kinds:
        for name in names:
            yield _python(kinds[""](name), label_key, f"{folder}/{name}")
    else:
        yield from _mosaics(folder, names, split)


def _binary(data: bytes, label_bytes: int, name: str) -> _Part:
    record = label_bytes + PIXELS
    if not data or len(data) % record:
        raise DataError(
            f"{name} holds {len(data)} bytes, which is no whole number of records of {record}. "
            "It is cut off or of another data set."
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].tolist()


def _python(data: bytes, label_key: str, name: str) -> _Part:
    (batch,) = read_pickles(data, 1, name)
    entries = batch if isinstance(batch, dict) else {}
    # Python 2 wrote the official keys, which come as text; Python 3 writes them as bytes.
    images, labels = (entries.get(k, entries.get(k.encode())) for k in ("data", label_key))
    array = images.array() if isinstance(images, PickledArray) else None
    if (
        array is None
        or array.dtype != np.uint8
        or array.ndim != 2
        or array.shape[1] != PIXELS
        or not isinstance(labels, list)
        or len(labels) != len(array)
        or not all(type(label) is int and 0 <= label < 100 for label in labels)
    ):
        raise DataError(
            f"{name} needs 'data' (N, {PIXELS}) uint8 and '{label_key}', N class numbers. Get the "
            "official archive."
        )
    return array.reshape(-1, 3, 32, 32), labels


def _mosaics(folder: Path, names: Sequence[str], split: str) -> Iterator[_Part]:
    """Yields batches drawn as 100x100 tiles of 32x32 pixels, row by row."""
    labels = read_npz(folder / "labels.npz").get(split)
    n = 10_000 * len(names)
    if labels is None or labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DataError(f"{folder}/labels.npz needs '{split}' with {n} whole numbers.")
    for i, name in enumerate(names):
        path = folder / f"{name}.webp"
        pixels = np.asarray(read_image(path))
        if pixels.shape != (3200, 3200, 3):
            raise DataError(f"{path} must be 3200x3200 pixels, found {pixels.shape[:2]}.")
        tiles = pixels.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3)
        batch = labels[10_000 * i : 10_000 * (i + 1)]
        yield tiles.reshape(-1, 3, 32, 32), batch.astype(int).tolist()


def _member(content: dict[str, bytes], folder: Path, name: str) -> bytes:
    if name not in content:
        raise DataError(f"The archive in {folder} lacks {name}; it has {sorted(content)}.")
    return content[name]


def _dataset(
    parts: Sequence[_Part], mean: Sequence[float], std: Sequence[float], name: str
) -> ArrayDataset:
    images = torch.from_numpy(np.concatenate([part for part, _ in parts]))
    labels = torch.tensor([label for _, batch in parts for label in batch])
    return ArrayDataset(images, labels, mean=mean, std=std, crop=4, flip=True, name=name)
