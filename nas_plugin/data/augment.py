"""Batched augmentation on the tensor's device, as f(seed, epoch, sample).

What happens to a sample depends neither on its place in the batch nor on the process that draws it,
so a resumed run and several ranks see the same images as one run alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Subset

from nas_plugin.errors import OptionError

_M64 = 2**64


class Transform(Protocol):
    """Changes a batch; `draw` gives uniform numbers of the samples."""

    def __call__(self, images: Tensor, draw: Draw) -> Tensor: ...


class Draw:
    """Uniform numbers in [0, 1) that belong to samples, by a counter-based hash.

    Args:
        indices: ``(N,)``, which samples the batch holds.
        seed: Seed of the run.
        epoch: Epoch of the run.
    """

    def __init__(self, indices: Tensor, seed: int, epoch: int) -> None:
        start = _mix(_signed(seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03), indices)
        self._state = start
        self._count = 0

    def uniform(self) -> Tensor:
        """Returns the samples' next number, ``(N,)`` float64."""
        self._count += 1
        bits = _mix(_signed(self._count * 0x9E3779B97F4A7C15), self._state)
        # 53 bits, the precision of float64.
        return ((bits >> 11) & (2**53 - 1)).double() / 2**53

    def integers(self, n: int) -> Tensor:
        """Returns whole numbers in [0, n), ``(N,)`` int64."""
        return (self.uniform() * n).long()


class Augment:
    """Applies transforms in turn to a batch of images, which it turns into floats.

    Args:
        transforms: In the order in which they act.
        seed: Other seeds augment otherwise.
    """

    def __init__(self, transforms: Sequence[Transform], *, seed: int = 0) -> None:
        self.transforms = tuple(transforms)
        self.seed = seed

    def __call__(self, images: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """Returns the augmented batch.

        Args:
            images: ``(N, C, H, W)``; uint8 becomes float in [0, 1].
            indices: ``(N,)``, which samples they are, on the device of the images.
            epoch: The epoch they are used in.
        """
        if images.dtype == torch.uint8:
            images = images.float() / 255
        draw = Draw(indices, self.seed, epoch)
        for transform in self.transforms:
            images = transform(images, draw)
        return images


def standard_augment(
    dataset: Any, *, train: bool, cutout: int = 0, seed: int = 0
) -> Augment | None:
    """Returns what is usual for a data set; None for one whose inputs are no images.

    Held-out images are normalised as training images are, so pass the training part for both.

    Args:
        dataset: Its `statistics`, `crop` and `flip` say what; a torch `Subset` of one will do.
        train: Crop, flip and cut out as well, not only normalise.
        cutout: Side of the square that is cut out; 0 cuts none.
        seed: Seed of the draws.
    """
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    found = dataset.statistics() if callable(getattr(dataset, "statistics", None)) else None
    transforms: list[Transform] = []
    if train and found and dataset.crop > 0:
        transforms.append(RandomCrop(dataset.crop))
    if train and found and dataset.flip:
        transforms.append(RandomFlip())
    if found:
        transforms.append(Normalize(*found))
    # After normalising: the hole then has the colour of the mean.
    if train and cutout:
        transforms.append(Cutout(cutout))
    return Augment(transforms, seed=seed) if transforms else None


def described(augment: Any) -> str:
    """Says what happens to images, for a log line."""
    if augment is None:
        return "as they are"
    if not isinstance(augment, Augment):
        return f"as {type(augment).__name__} changes them"
    return ", ".join(str(transform) for transform in augment.transforms) or "as they are"


class RandomCrop:
    """Pads with zeros and crops the old size at a random place.

    Args:
        padding: Pixels on every side.
    """

    def __init__(self, padding: int = 4) -> None:
        if padding < 0:
            raise OptionError(f"RandomCrop: padding must not be negative, got {padding}.")
        self.padding = padding

    def __str__(self) -> str:
        return f"shifted by up to {self.padding} pixel{'s' if self.padding > 1 else ''}"

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        n, c, h, w = images.shape
        p = self.padding
        top, left = draw.integers(2 * p + 1), draw.integers(2 * p + 1)
        padded = F.pad(images, (p, p, p, p))
        rows = (top[:, None] + torch.arange(h, device=images.device))[:, None, :, None]
        columns = (left[:, None] + torch.arange(w, device=images.device))[:, None, None, :]
        sample = torch.arange(n, device=images.device)[:, None, None, None]
        channel = torch.arange(c, device=images.device)[None, :, None, None]
        return padded[sample, channel, rows, columns]


class RandomFlip:
    """Mirrors half of the images left to right."""

    def __str__(self) -> str:
        return "mirrored at random"

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        flipped = draw.uniform() < 0.5
        return torch.where(flipped[:, None, None, None], images.flip(3), images)


class Cutout:
    """Sets a square to zero; its centre is uniform, so it may lie partly outside.

    Args:
        length: Side of the square in pixels.

    References:
        DeVries & Taylor 2017, https://arxiv.org/abs/1708.04552
    """

    def __init__(self, length: int = 16) -> None:
        if length < 1:
            raise OptionError(f"Cutout: length must be positive, got {length}.")
        self.length = length

    def __str__(self) -> str:
        return f"with a hole of {self.length} x {self.length} pixels"

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        h, w = images.shape[-2:]
        centre_y, centre_x = draw.integers(h)[:, None], draw.integers(w)[:, None]
        y, x = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
        half = self.length // 2
        inside_y = (y >= centre_y - half) & (y < centre_y - half + self.length)
        inside_x = (x >= centre_x - half) & (x < centre_x - half + self.length)
        hole = inside_y[:, :, None] & inside_x[:, None, :]
        return images.masked_fill(hole[:, None], 0.0)


class Normalize:
    """Subtracts the mean and divides by the standard deviation of each channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or any(s <= 0 for s in std):
            raise OptionError(
                f"Normalize needs one mean and one positive std a channel, got {mean} and {std}."
            )
        self.mean, self.std = tuple(mean), tuple(std)

    def __str__(self) -> str:
        mean, std = (" ".join(f"{v:.4g}" for v in values) for values in (self.mean, self.std))
        return f"normalised with mean {mean} and std {std}"

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype)
        return (images - mean[:, None, None]) / std[:, None, None]


def _mix(key: int, value: Tensor) -> Tensor:
    """Hashes int64 values with a key (the finaliser of SplitMix64), equal on every device."""
    z = value.long() * _signed(0x9E3779B97F4A7C15) + key
    z = (z ^ _shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shifts right without the sign, which torch's int64 would drag along."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    value %= _M64
    return value - _M64 if value >= _M64 // 2 else value
