"""Mean and standard deviation of the channels of images, to normalise with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from nas_plugin.errors import DataError, OptionError

#: Mean and standard deviation of each channel.
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
_CHUNK = 1024


def channel_statistics(parts: Tensor | Iterable[Tensor]) -> Statistics:
    """Returns mean and standard deviation of each channel over all images and pixels.

    A channel that never changes gets the deviation 1, so that it can be divided by.

    Args:
        parts: ``(N, C, H, W)``, or several such tensors; uint8 counts as [0, 1], as augmentation
            makes it.
    """
    chunks = torch.split(parts, _CHUNK) if isinstance(parts, Tensor) else parts
    count, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1).double()
    for images in chunks:
        values = images.double() / 255 if images.dtype == torch.uint8 else images.double()
        count += values.numel() // values.shape[1]
        total = total + values.sum((0, 2, 3))
        squares = squares + values.square().sum((0, 2, 3))
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    # What rounding leaves of a constant channel is no deviation.
    std = torch.where(std < 1e-6 * mean.abs().clamp_min(1e-6), 1.0, std)
    return tuple(mean.tolist()), tuple(std.tolist())


def restate(
    dataset: Any,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    crop: int | None = None,
    flip: bool | None = None,
) -> None:
    """Overrides what a data set of images says of itself; None keeps what it says.

    Args:
        dataset: The data set.
        mean: Mean of each channel, given together with `std`.
        std: Standard deviation of each channel.
        crop: Pixels by which training images may be shifted.
        flip: Whether a mirrored image is of the same class.

    Raises:
        OptionError: If a value is not allowed for these images.
    """
    named = {"mean": mean, "std": std, "crop": crop, "flip": flip}
    given = {name: value for name, value in named.items() if value is not None}
    if not given:
        return
    if not callable(getattr(dataset, "statistics", None)):
        raise OptionError(f"{', '.join(given)} belong to images; this data set holds none.")
    channels = dataset.shape[0]
    lengths = [None if values is None else len(values) for values in (mean, std)]
    if lengths not in ([None, None], [channels, channels]) or min(std or (1.0,)) <= 0:
        raise OptionError(
            f"mean and std are given together, one number for each of {channels} channels, std "
            f"positive; got {mean} and {std}."
        )
    if crop is not None and crop < 0:
        raise OptionError(f"crop must not be negative, got {crop}.")
    for name, value in given.items():
        setattr(dataset, name, value)


def check_alike(train: Any, held_out: Any) -> None:
    """Checks that two parts of the data can be read by one network.

    Parts that say nothing of shapes or classes pass.

    Args:
        train: What is trained on; of a pair, its first.
        held_out: What is only measured.

    Raises:
        DataError: If images, kinds of targets or classes of the held-out part are others than the
            training part's.
    """
    train = train[0] if isinstance(train, (tuple, list)) and train else train
    first, other = getattr(train, "shape", None), getattr(held_out, "shape", None)
    if first is not None and other is not None and first != other:
        raise DataError(
            f"The held-out samples have the shape {other}, those to train on {first}. One network "
            "reads both: give them one shape."
        )
    kinds = getattr(train, "kind", None), getattr(held_out, "kind", None)
    if None not in kinds and kinds[0] != kinds[1]:
        raise DataError(
            f"The held-out samples are {kinds[1]}, those to train on {kinds[0]}. Bytes are divided "
            "by 255 and others are not, so the two would be scaled differently: store both alike."
        )
    floats = [
        part.targets.is_floating_point()
        for part in (train, held_out)
        if isinstance(getattr(part, "targets", None), Tensor)
    ]
    if len(floats) == 2 and floats[0] != floats[1]:
        names = ["floats" if one else "classes (whole numbers)" for one in floats]
        raise DataError(
            f"The held-out targets are {names[1]}, those to train on {names[0]}. One loss compares "
            "both with the model's output: give them one type."
        )
    classes = getattr(train, "num_classes", None), getattr(held_out, "num_classes", None)
    if None not in classes and classes[1] > classes[0]:  # type: ignore[operator]
        raise DataError(
            f"The held-out part has {classes[1]} classes, the training part {classes[0]}. What is "
            "measured must be among what is trained: check the targets of both."
        )
