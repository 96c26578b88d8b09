"""What a trainer does to inputs without being asked, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import DataError, OptionError
from nas_plugin.trainers import RetrainTrainer, accuracy

N, SHAPE = 16, (1, 4, 4)
IMAGES = torch.arange(N * 16).reshape(N, *SHAPE).to(torch.uint8)
CLASSES = torch.arange(N) % 2


def trainer(train, valid, **options) -> RetrainTrainer:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    return RetrainTrainer(
        model, nn.functional.cross_entropy, accuracy, torch.optim.SGD(model.parameters(), 0.1), 1,
        train, valid, batch_size=N, device="cpu", progress=False, **options,
    )  # fmt: skip


def only_batch(loader) -> torch.Tensor:
    ((inputs, targets),) = loader.batches(0)
    del targets
    return inputs


def test_both_parts_are_normalised_by_the_training_images() -> None:
    train, dark = ArrayDataset(IMAGES, CLASSES), ArrayDataset(IMAGES // 2, CLASSES)
    scaled = IMAGES.double() / 255
    mean, std = scaled.mean(), scaled.std(correction=0)

    made = trainer(Subset(train, list(range(N))), dark)

    assert (
        only_batch(made.train_loader)
        .sort(0)
        .values.allclose(((scaled - mean) / std).float().sort(0).values, atol=1e-5)
    )
    assert only_batch(made.valid_loader).allclose(
        (((IMAGES // 2).double() / 255 - mean) / std).float(), atol=1e-5
    )
    assert made.inputs_as.count("normalised with mean 0.5 and std 0.289") == 2


def test_nothing_is_changed_on_request() -> None:
    data = ArrayDataset(IMAGES, CLASSES, crop=1, flip=True)

    plain = trainer(data, data, augment=None, eval_augment=None)
    assert only_batch(plain.valid_loader).allclose(IMAGES.float() / 255)
    assert plain.inputs_as == "training inputs as they are; held-out inputs as they are"

    shifted = trainer(data, data)
    assert "shifted by up to 1 pixel, mirrored at random, normal" in shifted.inputs_as


def test_loaders_of_the_user_are_taken_as_they_are() -> None:
    loader = DataLoader(ArrayDataset(IMAGES.float(), CLASSES), batch_size=N)

    assert only_batch(trainer(loader, loader).valid_loader).allclose(IMAGES.float())
    with pytest.raises(OptionError, match="cannot be split, augmented"):
        trainer(ArrayDataset(IMAGES, CLASSES), loader)
    trainer(ArrayDataset(IMAGES, CLASSES), loader, augment=None, eval_augment=None)


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (ArrayDataset(IMAGES[..., :3], CLASSES), r"\(1, 4, 3\), those to train on \(1, 4, 4\)"),
        (ArrayDataset(IMAGES.float(), CLASSES), "fractions, those to train on bytes"),
        (ArrayDataset(IMAGES, CLASSES + 1), "3 classes, the training part 2"),
    ],
)
def test_a_held_out_part_that_does_not_fit_is_found_before_the_first_step(valid, message) -> None:
    train = ArrayDataset(IMAGES, CLASSES)

    for given in (train, (train, train)):
        with pytest.raises(DataError, match=message):
            trainer(given, valid)
