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
from nas_plugin.errors import DataError, OptionError

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".gif", ".tif", ".tiff"})
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Images read as they are used, resized and cropped to a square.

    Args:
        folder: Holds one folder a class; classes are numbered in the order of their names.
        size: Side of the square in pixels.
        classes: All classes, where `folder` need not hold each (a test set numbers its classes as
            the training set does); those of `folder` if None.

    Raises:
        DataError: If there is no class, a class has no image, or is none of `classes`.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    flip = True
    crop = 0

    def __init__(self, folder: Path, size: int = 224, classes: Sequence[str] | None = None) -> None:
        if size < 1:
            raise OptionError(f"size must be a positive number of pixels, got {size}.")
        self.size = size
        self.name = str(folder)
        found = class_names(folder)
        if not found:
            raise DataError(f"{folder} holds no folder; make one a class, with its images inside.")
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

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image, ImageOps, UnidentifiedImageError

        path, label = self.files[index]
        try:
            with Image.open(path) as image:
                square = ImageOps.fit(image.convert("RGB"), (self.size, self.size))
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise DataError(f"{path} cannot be read as an image: {error}.") from error
        return torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1), label


def class_names(folder: Path) -> list[str]:
    """Returns the names of the folders in `folder`, in their order."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


@data_sets.register("image_folder")
def image_folder(
    *, root: Path | None, split: str, path: Path | None = None, size: int = 224
) -> Any:
    """Reads ``<root>/train/<class>/…`` and ``<root>/test/<class>/…`` (``val`` is known too).

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
    names = ("train",) if split == "train" else ("test", "val", "valid")
    trained = class_names(folder / "train") if (folder / "train").is_dir() else None
    for name in names:
        if (folder / name).is_dir():
            return ImageFolder(folder / name, size, trained or None)
    raise DataError(f"{folder} holds no folder {' or '.join(names)}; make it, one folder a class.")
