"""Batches of several inputs and targets."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_plugin.data import Augment, RandomFlip, make_loader
from nas_plugin.data.nested import joined, mapped, sample_count
from nas_plugin.errors import DataError

Pair = namedtuple("Pair", ["left", "right"])


class Several(Dataset[Any]):
    """Inputs by name, two targets."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.full((2,), float(index)), "y": torch.ones(1)}, (index, -index)


def test_values_of_one_structure_are_joined_sample_by_sample() -> None:
    first = {"a": torch.zeros(2, 3), "b": [torch.zeros(2), (torch.zeros(2, 1),)], "c": "name"}
    second = {"a": torch.ones(1, 3), "b": [torch.ones(1), (torch.ones(1, 1),)], "c": "name"}
    found = joined(first, second)

    assert found["a"].tolist() == [[0] * 3, [0] * 3, [1] * 3]
    assert found["b"][0].tolist() == [0, 0, 1] and found["b"][1][0].flatten().tolist() == [0, 0, 1]
    assert found["c"] == "name"


def test_every_tensor_is_changed_and_the_form_stays() -> None:
    value = {"a": torch.ones(2), "b": [torch.ones(1), Pair(torch.ones(3), "name")]}

    def sums(x: Tensor) -> Any:
        return float(x.sum())

    assert mapped(value, sums) == {"a": 2.0, "b": [1.0, Pair(3.0, "name")]}


@pytest.mark.parametrize("value", [torch.ones(3, 2), (torch.ones(3), torch.ones(3)),
                                   {"a": [torch.ones(3)]}])  # fmt: skip
def test_samples_are_counted_in_the_first_tensor(value: Any) -> None:
    assert sample_count(value) == 3


@pytest.mark.parametrize("value", [torch.tensor(1.0), [], "three", None])
def test_what_has_no_samples_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="targets of a batch are tensors"):
        sample_count(value)


def test_a_data_set_of_several_inputs_is_read_in_batches() -> None:
    loader = make_loader(Several(), batch_size=3, seed=0, shuffle=False, device="meta")

    inputs, targets = next(loader.batches(0))

    assert inputs["x"].shape == (3, 2) and inputs["x"].device.type == "meta"
    assert len(targets) == 2 and targets[1].device.type == "meta"


def test_augmentation_of_several_inputs_is_refused() -> None:
    loader = make_loader(Several(), batch_size=3, seed=0, augment=Augment([RandomFlip()]))
    with pytest.raises(DataError, match="inputs are a dict"):
        next(loader.batches(0))
