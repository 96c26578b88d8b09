"""Splits and orders follow from the seed, and hold classes in proportion."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from nas_plugin.data.split import epoch_order, split_indices
from nas_plugin.errors import OptionError


def test_another_seed_is_another_split_and_the_same_one_again() -> None:
    splits = [split_indices(100, seed=seed) for seed in (0, 1, 0)]

    assert all(torch.equal(a, b) for a, b in zip(splits[0], splits[2], strict=True))
    assert set(splits[0][0].tolist()) != set(splits[1][0].tolist())


def test_parts_are_disjoint_and_of_the_given_sizes() -> None:
    parts = split_indices(50, (0.5, 0.3, 0.1), seed=3)

    assert [len(part) for part in parts] == [25, 15, 5]
    assert len({int(i) for part in parts for i in part}) == 45


def test_every_part_holds_the_classes_in_proportion_and_at_random() -> None:
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    first, second = split_indices(100, (0.8, 0.2), seed=1, targets=targets)
    held = [Counter(targets[part].tolist()) for part in (first, second)]

    assert all(abs(held[0][c] - n) <= 1 for c, n in ((0, 48), (1, 24), (2, 8)))
    assert all(abs(held[1][c] - n) <= 1 for c, n in ((0, 12), (1, 6), (2, 2)))
    others = [split_indices(100, (0.8, 0.2), seed=s, targets=targets)[1] for s in range(2, 6)]
    assert len({tuple(sorted(part.tolist())) for part in [second, *others]}) == 5


def test_every_epoch_and_seed_has_an_order_of_its_own() -> None:
    orders = {tuple(epoch_order(20, seed, epoch).tolist()) for seed in (0, 1) for epoch in (0, 1)}

    assert len(orders) == 4 and all(sorted(order) == list(range(20)) for order in orders)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.0), (0.7, 0.4), (-0.1, 0.5)])
def test_fractions_that_cannot_be_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match="positive and at most 1"):
        split_indices(10, fractions, seed=0)


def test_classes_of_one_sample_are_shared_out_like_the_others() -> None:
    targets = torch.cat([torch.zeros(100, dtype=torch.long), torch.arange(1, 11)])
    for seed in range(3):
        for part in split_indices(110, (0.5, 0.5), seed=seed, targets=targets):
            assert int((targets[part] > 0).sum()) == 5
