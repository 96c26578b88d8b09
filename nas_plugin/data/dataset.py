"""A data set in memory, and the registry of the known ones."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_plugin.data.statistics import Statistics, channel_statistics
from nas_plugin.errors import DataError, OptionError
from nas_plugin.registry import Registry

#: What a reader has that names no other `splits`.
SPLITS = ("train", "test")
_OF_ALL = ("root", "split")

#: Name → ``reader(root, split, **options)``.
data_sets: Registry[Callable[..., Any]] = Registry(
    "data set", package="nas_plugin.data", group="nas_plugin.data_sets"
)


class ArrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and targets as two tensors.

    Both may also be numpy arrays, which are copied; their float64 becomes float32.

    Args:
        inputs: Images ``(N, C, H, W)``, uint8 or float, or ``(N, …)`` of any kind.
        targets: Classes, whole numbers ``(N,)``; or what is to be predicted otherwise, floats
            ``(N,)`` or ``(N, …)``, of the shape that the loss compares with the model's output.
        mean: Mean of each channel, in [0, 1] if inputs are uint8; computed from the inputs if None
            and they are images.
        std: Standard deviation of each channel, likewise.
        crop: Pixels by which training images may be shifted, as is usual for this set.
        flip: Whether a mirrored image is of the same class.
        name: What errors call the set.

    Attributes:
        num_classes: The largest class plus one; None if targets are no classes.

    Raises:
        DataError: If lengths or types do not fit, nothing is there, values are not finite, or mean
            and std are not one number per channel.
    """

    def __init__(
        self,
        inputs: Tensor | np.ndarray[Any, Any],
        targets: Tensor | np.ndarray[Any, Any],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        crop: int = 0,
        flip: bool = False,
        name: str = "data",
    ) -> None:
        inputs, targets = _tensor(inputs, "inputs", name), _tensor(targets, "targets", name)
        if len(inputs) != len(targets) or len(targets) == 0:
            raise DataError(
                f"Data set '{name}': {len(inputs)} inputs and {len(targets)} targets; their number "
                "must be equal and not 0."
            )
        classes = not targets.is_floating_point()
        if classes and targets.dim() != 1:
            raise DataError(
                f"Data set '{name}': targets must be classes, whole numbers of shape (N,), or "
                f"floats of any shape (N, …), got {targets.dtype} of shape {tuple(targets.shape)}."
            )
        if classes and int(targets.min()) < 0:
            raise DataError(f"Data set '{name}': a class is negative ({int(targets.min())}).")
        for what, values in (("inputs", inputs), ("targets", targets)):
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                raise DataError(
                    f"Data set '{name}': {what} hold NaN or infinite values. Remove them."
                )
        if inputs.dim() == 4 and inputs.dtype != torch.uint8 and not inputs.is_floating_point():
            raise DataError(
                f"Data set '{name}': images of {inputs.dtype} have no known scale. Store bytes "
                "(uint8, 0 to 255), which are divided by 255, or floats, which are taken as they "
                "are."
            )
        self.inputs = inputs
        self.targets = targets.long() if classes else targets
        self.mean = None if mean is None else tuple(mean)
        self.std = None if std is None else tuple(std)
        self._check_statistics(name)
        self.crop, self.flip = crop, flip
        self.name = name
        self.num_classes: int | None = int(targets.max()) + 1 if classes else None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.inputs.shape[1:])

    @property
    def kind(self) -> str:
        """What the samples are stored as: ``bytes``, ``whole numbers`` or ``fractions``."""
        if self.inputs.dtype == torch.uint8:
            return "bytes"
        return "fractions" if self.inputs.is_floating_point() else "whole numbers"

    def statistics(self) -> Statistics | None:
        """Returns mean and std of each channel, given or computed; None if these are no images."""
        if self.mean is None and self.inputs.dim() == 4:
            self.mean, self.std = channel_statistics(self.inputs)
        return (
            None if self.mean is None or self.std is None else (tuple(self.mean), tuple(self.std))
        )

    def _check_statistics(self, name: str) -> None:
        if self.mean is None and self.std is None:
            return
        channels = self.inputs.shape[1] if self.inputs.dim() == 4 else None
        lengths = [None if values is None else len(values) for values in (self.mean, self.std)]
        if channels is None or lengths != [channels, channels] or min(self.std or (0.0,)) <= 0:
            raise DataError(
                f"Data set '{name}': mean and std are given together, one number per channel of "
                f"images (N, C, H, W), std positive; got {self.mean} and {self.std} for inputs of "
                f"shape {tuple(self.inputs.shape)}."
            )

    def subset(self, indices: Tensor) -> ArrayDataset:
        """Returns some of the samples; the number of classes and the statistics stay."""
        mean, std = self.statistics() or (None, None)
        part = ArrayDataset(
            self.inputs[indices],
            self.targets[indices],
            mean=mean,
            std=std,
            crop=self.crop,
            flip=self.flip,
            name=self.name,
        )
        part.num_classes = self.num_classes
        return part


def load_data(
    name: str,
    *,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Returns a data set by name, or from a path.

    Args:
        name: A name in the registry, the path of an ``.npz`` file, or a folder that holds one
            folder of images a class.
        split: ``train`` or ``test``, and ``valid`` of sentences.
        root: The folder of the data set's files, or one above it.
        limit: Keep that many samples, classes in proportion, drawn from `seed`.
        seed: Seed of the draw.
        **options: Options of the data set's reader.

    Raises:
        UnknownNameError: If it is neither a name nor a path.
        OptionError: If the data set has no such split, or an option is not allowed.
        DataError: If files are missing or malformed.
    """
    reader = data_sets.get(_reader_name(name))
    splits = getattr(reader, "splits", SPLITS)
    if split not in splits:
        raise OptionError(f"{name}: split must be {' or '.join(splits)}, got {split!r}.")
    if _reader_name(name) != name:
        options["path"] = Path(name)
    known = [name for name in inspect.signature(reader).parameters if name not in _OF_ALL]
    unknown = sorted(set(options) - set(known) - {"path"})
    if unknown:
        raise OptionError(
            f"The data set '{name}' does not take {', '.join(unknown)}; it takes "
            f"{', '.join(sorted(set(known) - {'path'})) or 'no option of its own'}."
        )
    dataset = reader(root=None if root is None else Path(root), split=split, **options)
    if limit is None:
        return dataset
    if limit < 1:
        raise OptionError(f"limit must be a positive number of samples, got {limit}.")
    if limit >= len(dataset):
        return dataset
    if not isinstance(dataset, ArrayDataset):
        raise OptionError(f"limit works on data sets in memory; '{name}' is read as it is used.")
    from nas_plugin.data.split import split_indices

    part, _ = split_indices(
        len(dataset),
        (limit / len(dataset), 1 - limit / len(dataset)),
        seed=seed,
        targets=None if dataset.num_classes is None else dataset.targets,
    )
    return dataset.subset(part[:limit])


def _tensor(values: Any, what: str, name: str) -> Tensor:
    """Returns a tensor as it is, and an array as a tensor of its own."""
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.ndim > 0:
        return torch.tensor(values.astype(np.float32) if values.dtype == np.float64 else values)
    found = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else repr(type(values))
    raise DataError(
        f"Data set '{name}': {what} must be a tensor or a numpy array of numbers, one row per "
        f"sample; got {found}."
    )


def find_folder(root: Path | None, names: Sequence[str], wanted: Sequence[str], what: str) -> Path:
    """Returns the folder that holds one of the files `wanted`.

    Args:
        root: Where to look; None looks in ``$NAS_PLUGIN_DATA``, ``data`` and ``../shared/data``.
        names: Folders below those that are looked into as well.
        wanted: File names, of which one is enough.
        what: The data set's name, for the error.

    Raises:
        DataError: If none is found; it lists where it looked and for what.
    """
    roots = [root] if root is not None else default_roots()
    looked = [r / name for r in roots for name in ("", *names)]
    for folder in looked:
        if any((folder / name).exists() for name in wanted):
            return folder
    raise DataError(
        f"The data set '{what}' was not found. Looked in {', '.join(map(str, looked))} for one of "
        f"{', '.join(wanted)}. Put the official files there, or name their folder with --data-dir."
    )


def default_roots() -> list[Path]:
    """Returns where data sets are looked for when no folder is named."""
    named = os.environ.get("NAS_PLUGIN_DATA")
    return [*([Path(named)] if named else []), Path("data"), Path("..") / "shared" / "data"]


def _reader_name(name: str) -> str:
    if name in data_sets:
        return name
    path = Path(name)
    if path.suffix == ".npz":
        return "npz"
    return "image_folder" if path.is_dir() else name
