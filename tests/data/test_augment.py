"""Augmentation by hand on small images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from nas_plugin.data.augment import (
    Augment,
    Cutout,
    Normalize,
    RandomCrop,
    RandomFlip,
    standard_augment,
)
from nas_plugin.errors import OptionError

MEAN, STD = 0.25, 0.5


def data_set(crop: int, flip: bool) -> SimpleNamespace:
    return SimpleNamespace(statistics=lambda: ((MEAN,), (STD,)), crop=crop, flip=flip)


def augmented(images: Tensor, *transforms: object, epoch: int = 0) -> Tensor:
    return Augment(transforms, seed=0)(images, torch.arange(len(images)), epoch)


def test_the_hole_of_cutout_has_the_colour_of_the_mean() -> None:
    augment = standard_augment(data_set(0, False), train=True, cutout=4)
    assert augment is not None
    white = torch.full((40, 1, 8, 8), 255, dtype=torch.uint8)
    out = augment(white, torch.arange(40), 0)

    # After normalising, zero is the mean; a hole before it would be -0.5.
    assert set(out.unique().tolist()) == {0.0, (1 - MEAN) / STD}
    holes = (out == 0).sum(dim=(1, 2, 3))
    # A centre in a corner leaves two by two pixels of the square inside.
    assert holes.max() == 16 and holes.min() >= 4


def test_a_crop_of_one_pixel_moves_images() -> None:
    augment = standard_augment(data_set(1, False), train=True)
    assert augment is not None
    white = torch.full((30, 1, 4, 4), 255, dtype=torch.uint8)
    out = augment(white, torch.arange(30), 0)

    # What comes in from the border is black, and at most a row and a column of it.
    black = (out < 0).flatten(1).sum(1)
    assert set(black.tolist()) <= {0, 4, 7} and black.max() > 0


@pytest.mark.parametrize("std", [(0.5, 0.0), (0.0, 0.5), (-1.0, 1.0)])
def test_one_deviation_that_is_not_positive_is_refused(std: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="positive std a channel"):
        Normalize((0.0, 0.0), std)


def test_held_out_images_are_only_normalised() -> None:
    augment = standard_augment(data_set(2, True), train=False, cutout=4)
    assert augment is not None
    images = torch.rand(6, 1, 8, 8)

    torch.testing.assert_close(augment(images, torch.arange(6), 3), (images - MEAN) / STD)


def test_training_images_are_shifted_and_mirrored_where_the_set_says_so() -> None:
    names = {
        (crop, flip): [type(t).__name__ for t in augment.transforms]
        for crop in (0, 2)
        for flip in (False, True)
        if (augment := standard_augment(data_set(crop, flip), train=True)) is not None
    }
    assert names == {
        (0, False): ["Normalize"],
        (0, True): ["RandomFlip", "Normalize"],
        (2, False): ["RandomCrop", "Normalize"],
        (2, True): ["RandomCrop", "RandomFlip", "Normalize"],
    }


def test_a_crop_is_every_shift_alike_with_zeros_around() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1.0
    out = augmented(image.expand(2000, 1, 3, 3), RandomCrop(1))
    places = out[:, 0].flatten(1)

    # The bright pixel is met in each of the nine places, and nothing else is bright.
    assert (places.sum(1) == 1).all()
    counts = places.sum(0)
    assert ((counts - 2000 / 9).abs() < 60).all()


def test_half_of_the_images_are_mirrored_whole() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    out = augmented(image.expand(1000, 1, 2, 3), RandomFlip())
    mirrored = (out == image.flip(3)).all(dim=(1, 2, 3))
    kept = (out == image).all(dim=(1, 2, 3))

    assert (mirrored ^ kept).all() and abs(int(mirrored.sum()) - 500) < 70


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_square_of_cutout_lies_around_a_uniform_centre(length: int) -> None:
    out = augmented(torch.ones(3000, 1, 5, 5), Cutout(length))
    holes = out[:, 0] == 0

    for hole in holes[:50]:
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        height, width = (int(v.max() - v.min() + 1) for v in (rows, columns))
        assert height <= length and width <= length and int(hole.sum()) == height * width
    share = holes.double().mean(0)
    inside = (1, 5 - length // 2)
    # A pixel away from the border is hit by length * length of 25 centres.
    assert share[inside[0] : inside[1], inside[0] : inside[1]].mean() == pytest.approx(
        length**2 / 25, rel=0.15
    )


def test_another_epoch_and_another_seed_draw_otherwise() -> None:
    image = torch.rand(64, 1, 6, 6)
    indices = torch.arange(64)
    outs = [
        Augment([RandomCrop(2), RandomFlip()], seed=seed)(image, indices, epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]

    assert torch.equal(outs[0], outs[3])
    assert not torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])
