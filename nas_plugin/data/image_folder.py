"""One folder of images a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_plugin.data.dataset import data_sets
from nas_plugin.data.statistics import Statistics, channel_statistics
from nas_plugin.errors import DataError, OptionError
from nas_plugin.files import read_image, read_json
from nas_plugin.files.shape import FLAG, NUMBER, Is, Optional, check_json

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".gif", ".tif", ".tiff"})
#: What says how a folder's images are normalised and augmented.
SETTINGS = "dataset.json"
#: Images that mean and deviation are computed from.
SAMPLE = 512
_CHANNELS = Is(
    "a list of 3 numbers",
    lambda v: isinstance(v, list) and len(v) == 3 and all(map(NUMBER.test, v)),
)
_SHAPE = {
    Optional("mean"): _CHANNELS,
    Optional("std"): _CHANNELS,
    Optional("crop"): Is("a whole number, not negative", lambda v: type(v) is int and v >= 0),
    Optional("flip"): FLAG,
}


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Images read as they are used, resized and cropped to a square.

    Args:
        folder: Holds one folder a class; classes are numbered in the order of their names.
        size: Side of the square in pixels.
        classes: All classes, if `folder` need not hold each (a test set numbers its classes as the
            training set does); those of `folder` if None.
        train: What the statistics are computed from; this set if None.
        mean: Mean of each channel, in [0, 1]; computed if None.
        std: Standard deviation of each channel; computed if None.
        crop: Pixels by which training images may be shifted.
        flip: Whether a mirrored image is of the same class.

    Raises:
        DataError: If there is no class, a class has no image, or is none of `classes`.
    """

    kind = "bytes"

    def __init__(
        self,
        folder: Path,
        size: int = 224,
        classes: Sequence[str] | None = None,
        *,
        train: ImageFolder | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        crop: int = 0,
        flip: bool = True,
    ) -> None:
        if size < 1:
            raise OptionError(f"size must be a positive number of pixels, got {size}.")
        self.size = size
        self.crop, self.flip = crop, flip
        self._train = train
        self.mean, self.std = mean, std
        self.name = str(folder)
        found = class_names(folder)
        if not found:
            raise DataError(
                f"{folder} holds no folder; make one per class, with its images inside."
            )
        self.classes = found if classes is None else list(classes)
        unknown = [name for name in found if name not in self.classes]
        if unknown:
            raise DataError(
                f"{folder} holds the classes {unknown}, which the training set lacks; it has "
                f"{self.classes}."
            )
        self.files: list[tuple[Path, int]] = []
        for name in found:
            label = self.classes.index(name)
            images = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in ENDINGS)
            if not images:
                raise DataError(
                    f"The class folder {folder / name} holds no image; known are "
                    f"{', '.join(sorted(ENDINGS))}."
                )
            self.files += [(path, label) for path in images]
        self.num_classes = len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one sample."""
        return 3, self.size, self.size

    def statistics(self) -> Statistics:
        """Returns mean and std of each channel: given, or those of 512 training images.

        The images are spread evenly over the training set, classes in their order.
        """
        if self.mean is not None and self.std is not None:
            return tuple(self.mean), tuple(self.std)
        if self._train is not None:
            self.mean, self.std = self._train.statistics()
        else:
            count = min(SAMPLE, len(self))
            places = [i * len(self) // count for i in range(count)]
            self.mean, self.std = channel_statistics(self[place][0][None] for place in places)
        return self.mean, self.std

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import ImageOps

        path, label = self.files[index]
        square = ImageOps.fit(read_image(path), (self.size, self.size))
        return torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1), label


def class_names(folder: Path) -> list[str]:
    """Returns the names of the folders in `folder`, in their order."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


@data_sets.register("image_folder")
def image_folder(
    *, root: Path | None, split: str, path: Path | None = None, size: int = 224
) -> Any:
    """Reads ``<root>/train/<class>/…`` and ``<root>/test/<class>/…`` (``val`` is known too).

    ``<root>/dataset.json`` may hold ``mean``, ``std``, ``crop`` and ``flip``. Mean and deviation
    are computed from training images if it does not, and images are mirrored unless it says
    ``"flip": false``.

    Args:
        root: The folder of the splits.
        split: ``train`` or ``test``.
        path: The same as `root`, where it was given as the data set's name.
        size: Side of the square that images become.

    Raises:
        DataError: If a folder is missing or empty.
    """
    folder = root if path is None else path
    if folder is None:
        raise DataError("The data set 'image_folder' needs its folder: --data-dir images/.")
    settings = _settings(folder / SETTINGS)
    trained = folder / "train"
    if split == "train":
        if trained.is_dir():
            return ImageFolder(trained, size, **settings)
        raise DataError(f"{folder} holds no folder train; make it, one folder per class.")
    names = ("test", "val", "valid")
    for name in names:
        if (folder / name).is_dir():
            train = ImageFolder(trained, size, **settings) if trained.is_dir() else None
            classes = None if train is None else train.classes
            return ImageFolder(folder / name, size, classes, train=train, **settings)
    raise DataError(
        f"{folder} holds no folder {' or '.join(names)}; make it, one folder per class."
    )


def _settings(file: Path) -> dict[str, Any]:
    """Returns what a folder's file says about its images."""
    if not file.exists():
        return {}
    found: dict[str, Any] = check_json(read_json(file), _SHAPE, str(file))
    if ("mean" in found) != ("std" in found):
        raise DataError(f"{file}: mean and std belong together; give both or neither.")
    return found
