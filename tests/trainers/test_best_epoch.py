"""The test set is measured where validation is better than before, and chooses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError
from nas_plugin.files import load_checkpoint
from nas_plugin.trainers import BestEpoch, Callback, RetrainTrainer, Trainer, accuracy


class Played(RetrainTrainer):
    """Validates to values that were decided before."""

    values: tuple[float, ...] = (0.5, 0.7, 0.7, 0.6)

    def measured(self, loader: Any) -> dict[str, float]:
        if loader is self.valid_loader:
            return {"loss": 0.0, "accuracy": self.values[self.epoch]}
        return super().measured(loader)


class Seen(Callback):
    """Keeps what is recorded of the test set."""

    def __init__(self) -> None:
        self.tests: list[tuple[int, float]] = []

    def on_record(self, record: Any) -> None:
        if record["phase"] == "test":
            self.tests.append((record["epoch"], record["accuracy"]))


def data(seed: int) -> ArrayDataset:
    generator = torch.Generator().manual_seed(seed)
    return ArrayDataset(torch.randn(16, 3, generator=generator), torch.arange(16) % 2)


def trainer(best: BestEpoch, seen: Seen, **options: Any) -> Played:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return Played(
        model, nn.functional.cross_entropy, accuracy, optimizer, options.pop("epochs", 4), data(0),
        data(1), batch_size=8, device="cpu", callbacks=[best, seen], **options,
    )  # fmt: skip


def test_the_first_of_equal_epochs_is_measured_with_its_own_weights(tmp_path: Path) -> None:
    best, seen = BestEpoch(data(2), path=tmp_path / "model.pt"), Seen()
    ours = trainer(best, seen)
    ours.train()

    assert (best.epoch, best.valid) == (1, 0.7)
    assert seen.tests == [(3, best.test["accuracy"])], "once, after the last epoch"
    model = nn.Linear(3, 2)
    model.load_state_dict(load_checkpoint(tmp_path / "model.pt"))
    test = data(2)
    right = (model(test.inputs).argmax(dim=1) == test.targets).double().mean()
    assert float(right) == best.test["accuracy"]
    assert torch.equal(ours.model.weight, model.weight)


def test_a_resumed_run_keeps_what_was_best(tmp_path: Path) -> None:
    trainer(BestEpoch(data(2)), Seen(), epochs=2, checkpoint_dir=tmp_path).train()
    unbroken = BestEpoch(data(2))
    trainer(unbroken, Seen()).train()

    best, seen = BestEpoch(data(2)), Seen()
    trainer(best, seen, checkpoint_dir=tmp_path, resume=True).train()
    assert [epoch for epoch, _ in seen.tests] == [3]
    assert (best.epoch, best.valid, best.test) == (unbroken.epoch, unbroken.valid, unbroken.test)


def test_the_checkpoint_holds_the_weights_of_the_last_epoch(tmp_path: Path) -> None:
    ours = trainer(BestEpoch(data(2)), Seen(), checkpoint_dir=tmp_path)
    ours.train()
    other = trainer(BestEpoch(data(2)), Seen(), checkpoint_dir=tmp_path, resume=True)
    other.restore()
    assert other.epoch == 4
    assert not torch.equal(other.model.weight, ours.model.weight)


def test_it_belongs_to_a_trainer_that_keeps_a_best() -> None:
    with pytest.raises(OptionError, match="belongs to a RetrainTrainer; Trainer"):
        BestEpoch(data(0)).build(Trainer.__new__(Trainer))


class StopAfter(Callback):
    """Ends training after an epoch."""

    def on_epoch_end(self, epoch: int) -> None:
        if epoch == 2:
            self.trainer.stop("enough")


@pytest.mark.parametrize("first", [True, False])
def test_a_run_that_is_stopped_keeps_and_measures_the_chosen_epoch(first: bool) -> None:
    best, seen = BestEpoch(data(2)), Seen()
    ours = trainer(best, seen)
    ours.callbacks.insert(0 if first else 2, StopAfter())
    ours.train()
    unbroken = BestEpoch(data(2))
    trainer(unbroken, Seen()).train()

    assert ours.epoch == 3 and best.epoch == 1
    assert best.test == unbroken.test and len(seen.tests) == 1
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, best._weights[name])


def test_test_images_are_normalised_as_those_of_validation() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, 1, 4, 4), generator=generator, dtype=torch.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    part = ArrayDataset(images, torch.arange(16) % 2)
    best = BestEpoch(part)
    ours = RetrainTrainer(
        model, nn.functional.cross_entropy, accuracy, torch.optim.SGD(model.parameters(), 0.1), 1,
        part, part, batch_size=8, device="cpu", callbacks=[best],
    )  # fmt: skip
    ours.train()

    pixels = images.double() / 255
    pixels = (pixels - pixels.mean()) / pixels.std(unbiased=False)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model.double()(pixels), part.targets)
    assert best.test["loss"] == pytest.approx(float(loss), abs=1e-5)
