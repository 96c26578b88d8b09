"""Data, model, loss and folder that do not fit: one clear error before anything steps."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from nas_plugin import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import DataError, OptionError, TrainingError
from nas_plugin.scripts import writable_folder
from nas_plugin.trainers import DartsTrainer, RetrainTrainer, accuracy

N = 16
IMAGES = torch.linspace(-1, 1, N * 16).reshape(N, 1, 4, 4)
CLASSES = torch.arange(N) % 2
CROSS = nn.functional.cross_entropy


def network() -> nn.Module:
    choice = LayerChoice([nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 1)], key="op")
    return nn.Sequential(choice, nn.Flatten(), nn.Linear(32, 2))


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 2))


def made(train, *, search: bool = False, loss=CROSS, metrics=accuracy, valid=None, **options):
    model = network() if search else plain()
    kind = partial(DartsTrainer, mutator="darts") if search else RetrainTrainer
    return kind(
        model, loss, metrics, torch.optim.SGD(model.parameters(), 0.1), 1,
        train, train if valid is None else valid,
        batch_size=4, device="cpu", progress=False, augment=None, eval_augment=None, **options,
    )  # fmt: skip


def pairs(images=IMAGES, targets=CLASSES) -> TensorDataset:
    return TensorDataset(images, targets)


MISFITS = {
    "class too large": (pairs(targets=CLASSES + 1), {}, DataError, r"class 2.*2 outputs.*\[0, 1\]"),
    "class negative": (pairs(targets=CLASSES - 1), {}, DataError, "class -1.*Number the classes"),
    "float classes": (pairs(targets=CLASSES.float()), {}, DataError, r"float32 \(4,\).*\.long"),
    "int32 classes": (pairs(targets=CLASSES.int()), {}, DataError, r"int32 \(4,\).*int64"),
    "of a module": (
        pairs(targets=CLASSES + 1), {"loss": nn.CrossEntropyLoss()}, DataError, "class 2",
    ),
    "of a partial": (
        pairs(targets=CLASSES + 1), {"loss": partial(CROSS, label_smoothing=0.1)}, DataError,
        "class 2",
    ),
    "of an own loss": (
        pairs(targets=CLASSES + 1), {"loss": lambda o, t: CROSS(o, t)}, TrainingError,
        r"output float32 \(4, 2\) and the targets int64 \(4,\)",
    ),
    "a column of classes": (
        pairs(targets=CLASSES[:, None]), {}, TrainingError, r"targets int64 \(4, 1\)",
    ),
    "vector loss": (
        pairs(), {"loss": partial(CROSS, reduction="none")}, OptionError,
        r"float32 \(4,\).*one number.*mean",
    ),
    "channels": (
        pairs(IMAGES.repeat(1, 3, 1, 1)), {}, TrainingError,
        r"inputs are float32 \(4, 3, 4, 4\).*1 channel.*build the model",
    ),
    "size": (
        pairs(IMAGES.repeat(1, 1, 2, 2)), {}, TrainingError, r"float32 \(4, 1, 8, 8\).*shapes",
    ),
    "broadcast": (
        pairs(targets=CLASSES.float()[:, None]), {"loss": nn.MSELoss()}, OptionError,
        r"output is float32 \(4, 2\), the targets are float32 \(4, 1\): .*broadcast",
    ),
    "type": (pairs(IMAGES.double()), {}, TrainingError, r"inputs are float64 \(4, 1, 4, 4\)"),
}  # fmt: skip


@pytest.mark.parametrize("search", [False, True], ids=["plain", "search"])
@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_named_before_anything_steps(name: str, search: bool) -> None:
    data, options, family, message = MISFITS[name]
    trainer = made(data, search=search, **options)
    before = [
        p.detach().clone() for p in (*trainer.model.parameters(), *getattr(trainer, "alphas", ()))
    ]

    with pytest.raises(family, match=message):
        trainer.train()

    after = [*trainer.model.parameters(), *getattr(trainer, "alphas", ())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert trainer.step == 0


def test_stored_classes_are_all_checked_not_only_those_of_the_first_batch() -> None:
    late, half = CLASSES.clone(), ArrayDataset(IMAGES, CLASSES)
    late[-1] = 2
    for train in (ArrayDataset(IMAGES, late), (half, ArrayDataset(IMAGES, late))):
        trainer = made(train, search=True, valid=half)
        trainer.batches = lambda *_: iter([((IMAGES[:4], CLASSES[:4]),) * 2])
        with pytest.raises(DataError, match="dataset_train holds the class 2"):
            trainer.train()


def test_what_fits_passes() -> None:
    ignored = CLASSES.clone()
    ignored[::4] = 7
    shares = torch.stack([1.0 - CLASSES, CLASSES + 0.0], 1)
    made(pairs(targets=ignored), loss=nn.CrossEntropyLoss(ignore_index=7)).train()
    made(ArrayDataset(IMAGES, ignored), loss=partial(CROSS, ignore_index=7)).train()
    made(pairs(targets=shares), metrics=lambda output, target: {"accuracy": 0.0}).train()
    made(pairs(targets=CLASSES.to(torch.uint8))).train()


@pytest.mark.parametrize("search", [False, True], ids=["plain", "search"])
@pytest.mark.parametrize("function", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_numbers_are_predicted_and_never_broadcast(function: str, search: bool) -> None:
    """(N,) targets against an output (N, 1) would be compared all with all."""
    values = IMAGES.flatten(1)[:, :2].clone()
    loss = getattr(nn.functional, function)
    options = {"loss": lambda o, t: loss(o, t), "metrics": ["mae"]}
    monitor = {} if search else {"monitor": "mae"}
    trainer = made(ArrayDataset(IMAGES, values), search=search, **options, **monitor)
    first = trainer.validate()
    trainer.train()
    assert trainer.validate()["loss"] < first["loss"]
    if not search:
        assert trainer.best == pytest.approx(trainer.validate()["mae"])

    trainer = made(ArrayDataset(IMAGES, values[:, :1]), search=search, **options, **monitor)
    with pytest.raises(OptionError, match="broadcast"):
        trainer.train()


def test_the_first_batch_is_computed_once() -> None:
    trainer = made(pairs(), loss=nn.CrossEntropyLoss(), limit_batches=1)
    runs = []
    trainer.model.register_forward_hook(lambda *_: runs.append(trainer.model.training))
    trainer.train()
    assert runs == [True, False]


def test_an_error_of_ones_own_passes_as_it_is() -> None:
    def loss(output, target):
        raise DataError("mine")

    with pytest.raises(DataError, match="^mine$"):
        made(pairs(), loss=loss).train()


def test_a_folder_that_cannot_be_written_is_refused_at_construction(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for folder in (file, file / "below"):
        with pytest.raises(OptionError, match=r"because .*file is a file\. Give a folder"):
            made(pairs(), checkpoint_dir=folder)
    assert file.read_text() == "kept"

    made(pairs(), checkpoint_dir=tmp_path / "new" / "run")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a folder that root cannot write"
)
def test_a_folder_without_permission_is_refused() -> None:
    with pytest.raises(OptionError, match="cannot be written to: .* in /proc"):
        made(pairs(), checkpoint_dir="/proc/none/run")


def test_a_flag_names_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert writable_folder(str(tmp_path / "new")) == tmp_path / "new"
    with pytest.raises(argparse.ArgumentTypeError, match="is a file"):
        writable_folder(str(tmp_path / "file"))


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(reduction="sum"), "partial"])
def test_sums_are_not_computed_in_parts(loss, search: bool) -> None:
    loss = partial(CROSS, reduction="sum") if loss == "partial" else loss
    with pytest.raises(OptionError, match="2 parts.*reduction='sum'"):
        made(pairs(), loss=loss, search=search, accumulate=2)
    made(pairs(), loss=loss, search=search)


@pytest.mark.parametrize("where", ["train", "valid"])
def test_a_pair_where_one_set_is_read_is_refused(where: str) -> None:
    given = {"train": pairs(), "valid": pairs(), where: (pairs(), pairs())}
    with pytest.raises(
        OptionError, match="one data set or loader is read, got 2 of them in a tuple"
    ):
        made(given["train"], valid=given["valid"])


class Stream(IterableDataset):
    """Samples without a length."""

    def __iter__(self):
        return iter(pairs())


class Three(torch.utils.data.Dataset):
    """Samples of three parts."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int):
        return IMAGES[index], CLASSES[index], index


@pytest.mark.parametrize("search", [False, True])
def test_data_of_another_form_is_named(search: bool) -> None:
    error, text = (OptionError, "no length") if search else (DataError, "cannot be read in batches")
    with pytest.raises(error, match=text):
        made(Stream(), search=search, valid=pairs())
    for three in (Three(), DataLoader(Three(), batch_size=4)):
        with pytest.raises(DataError, match=r"pair \(inputs, targets\), got 3 parts"):
            made((three, three) if search else three, search=search, valid=pairs()).train()


def test_models_optimizers_and_metrics_that_cannot_work_are_refused_at_construction() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    sgd = partial(torch.optim.SGD, lr=0.1)
    for model, optimizer, metrics, text in (
        (lazy, sgd, accuracy, r"without a shape.*1\.weight"),
        (plain(), torch.optim.LBFGS, accuracy, "LBFGS.*closure"),
        (plain(), sgd, 3, "metrics is 3; it must be"),
    ):
        with pytest.raises(OptionError, match=text):
            RetrainTrainer(model, CROSS, metrics, optimizer, 1, pairs(), pairs(), batch_size=4)
