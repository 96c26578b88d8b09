"""Loaders, splits and augmentation against plain loops."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from nas_plugin.data import (
    ArrayDataset,
    Augment,
    Cutout,
    Normalize,
    RandomCrop,
    RandomFlip,
    make_loader,
    split_indices,
    standard_augment,
)
from nas_plugin.data.augment import Draw
from nas_plugin.errors import DataError, OptionError

N = 50
IMAGES = torch.randint(0, 256, (N, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
DATA = ArrayDataset(IMAGES, torch.arange(N) % 5)
AUGMENT = Augment([RandomCrop(2), RandomFlip(), Cutout(3)], seed=4)


def collected(loader, epoch=0, start=0):  # type: ignore[no-untyped-def]
    return [(x.clone(), y.clone()) for x, y in loader.batches(epoch, start)]


def assert_equal(a, b) -> None:  # type: ignore[no-untyped-def]
    assert len(a) == len(b)
    for (x, y), (u, v) in zip(a, b, strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


@pytest.mark.parametrize("start", [0, 1, 5, 6])
def test_any_start_gives_the_tail_of_the_epoch(start: int) -> None:
    loader = make_loader(DATA, batch_size=8, seed=1, augment=AUGMENT)

    assert_equal(collected(loader, 3, start), collected(loader, 3)[start:])


def test_every_epoch_has_an_order_of_its_own_and_holds_all() -> None:
    loader = make_loader(DATA, batch_size=8, seed=1)
    first, second = (torch.cat([y for _, y in collected(loader, e)]) for e in (0, 1))

    assert len(loader) == 7
    assert first.tolist() != second.tolist()
    assert sorted(first.tolist()) == sorted(DATA.targets.tolist())


@pytest.mark.parametrize("dataset", [DATA, TensorDataset(IMAGES, DATA.targets)])
def test_ranks_together_see_the_global_batch(dataset) -> None:  # type: ignore[no-untyped-def]
    whole = collected(make_loader(dataset, batch_size=8, seed=1, augment=AUGMENT, drop_last=True))
    parts = [
        collected(make_loader(dataset, batch_size=4, seed=1, augment=AUGMENT, rank=r, world_size=2))
        for r in (0, 1)
    ]

    assert len(parts[0]) == len(parts[1]) == len(whole)
    for (x, y), (x0, y0), (x1, y1) in zip(whole, *parts, strict=True):
        assert torch.equal(x[0::2], x0) and torch.equal(x[1::2], x1)
        assert torch.equal(y[0::2], y0) and torch.equal(y[1::2], y1)


def test_streaming_gives_what_memory_gives() -> None:
    stream = make_loader(TensorDataset(IMAGES, DATA.targets), batch_size=8, seed=1, augment=AUGMENT)
    memory = make_loader(DATA, batch_size=8, seed=1, augment=AUGMENT)

    assert_equal(collected(stream, 2, 3), collected(memory, 2, 3))


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_change_nothing() -> None:
    options = {"batch_size": 8, "seed": 1, "augment": AUGMENT}
    data = TensorDataset(IMAGES, DATA.targets)

    assert_equal(
        collected(make_loader(data, workers=2, **options)),
        collected(make_loader(data, workers=0, **options)),
    )


def test_a_loader_of_the_user_is_seeded_by_the_epoch() -> None:
    own = DataLoader(TensorDataset(IMAGES, DATA.targets), batch_size=8, shuffle=True)
    loader = make_loader(own, batch_size=8, seed=1)

    assert_equal(collected(loader, 1, 2), collected(loader, 1)[2:])
    assert not torch.equal(collected(loader, 0)[0][0], collected(loader, 1)[0][0])


def test_limits_and_indices_hold() -> None:
    some = torch.tensor([3, 4, 5, 6, 7])
    loader = make_loader(DATA, batch_size=2, seed=0, indices=some, limit_batches=2, shuffle=False)

    assert [y.tolist() for _, y in collected(loader)] == [[3, 4], [0, 1]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, OptionError, "batch_size must be positive"),
        ({"workers": -1}, OptionError, "workers not negative"),
        ({"rank": 2, "world_size": 2}, OptionError, "rank below world_size"),
    ],
)
def test_wrong_options_are_named(options, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        make_loader(DATA, **{"batch_size": 2, "seed": 0, **options})


def test_what_cannot_be_read_in_batches_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be read in batches"):
        make_loader(3, batch_size=2, seed=0)
    with pytest.raises(OptionError, match="cannot be split, augmented or shared"):
        make_loader([(1, 2)], batch_size=2, seed=0, augment=AUGMENT)


def test_splits_are_disjoint_seeded_and_stratified() -> None:
    first, second = split_indices(N, (0.6, 0.4), seed=3, targets=DATA.targets)

    assert sorted([*first.tolist(), *second.tolist()]) == list(range(N))
    assert DATA.targets[first].bincount().tolist() == [6] * 5
    assert torch.equal(first, split_indices(N, (0.6, 0.4), seed=3, targets=DATA.targets)[0])
    assert not torch.equal(first, split_indices(N, (0.6, 0.4), seed=4, targets=DATA.targets)[0])
    with pytest.raises(OptionError, match="fractions"):
        split_indices(N, (0.9, 0.2), seed=0)


def test_augmentation_belongs_to_the_sample_not_to_its_place() -> None:
    indices = torch.arange(10)
    whole = AUGMENT(IMAGES[:10], indices, 2)
    backwards = AUGMENT(IMAGES[:10].flip(0), indices.flip(0), 2)

    assert torch.equal(whole, backwards.flip(0))
    assert not torch.equal(whole, AUGMENT(IMAGES[:10], indices, 3))


def test_transforms_equal_a_loop_over_images() -> None:
    images = IMAGES[:6].float() / 255
    indices = torch.arange(6)
    draw = Draw(indices, 4, 1)
    top, left = draw.integers(5), draw.integers(5)
    flip, cy, cx = draw.uniform() < 0.5, draw.integers(8), draw.integers(8)
    expected = []
    for i, image in enumerate(images):
        padded = torch.zeros(3, 12, 12)
        padded[:, 2:10, 2:10] = image
        out = padded[:, top[i] : top[i] + 8, left[i] : left[i] + 8].clone()
        out = out.flip(2) if flip[i] else out
        for y in range(8):
            for x in range(8):
                if cy[i] - 1 <= y < cy[i] + 2 and cx[i] - 1 <= x < cx[i] + 2:
                    out[:, y, x] = 0
        expected.append(out)

    assert torch.equal(AUGMENT(IMAGES[:6], indices, 1), torch.stack(expected))


def test_draws_are_uniform_and_independent_of_the_epoch() -> None:
    a = Draw(torch.arange(20_000), 0, 0)
    first, second = a.uniform(), a.uniform()
    other = Draw(torch.arange(20_000), 0, 1).uniform()

    for sample in (first, second, other):
        counts = (sample * 20).long().bincount(minlength=20).double()
        # Chi-square with 19 degrees of freedom: 43.8 is its 0.1 % quantile.
        assert float(((counts - 1000) ** 2 / 1000).sum()) < 43.8
    for x, y in ((first, second), (first, other)):
        assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1])) < 0.03


def test_normalize_and_the_standard_of_a_set() -> None:
    data = ArrayDataset(IMAGES, DATA.targets, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), crop=1)
    held_out = standard_augment(data, train=False)
    assert held_out is not None
    expected = (IMAGES.float() / 255 - torch.tensor(data.mean).view(3, 1, 1)) / torch.tensor(
        data.std
    ).view(3, 1, 1)

    assert torch.allclose(held_out(IMAGES, torch.arange(N), 0), expected)
    vectors = ArrayDataset(torch.randn(N, 3), DATA.targets)
    assert standard_augment(vectors, train=True) is None
    with pytest.raises(OptionError, match="one positive std a channel"):
        Normalize((0.5,), (0.0,))


class Noisy(TensorDataset):
    """Draws from the global generators, as torchvision's transforms do."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return x + torch.rand(()) + random.random() + np.random.rand(), y


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_a_data_set_draws_goes_on_from_any_step(workers: int, wrapped: bool) -> None:
    noisy: Any = Noisy(torch.zeros(12), torch.arange(12))
    if wrapped:
        noisy = DataLoader(noisy, batch_size=3, num_workers=workers)
    loader = make_loader(noisy, batch_size=3, seed=1, workers=workers)
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    batches = loader.batches(0)
    next(batches), next(batches)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    rest = list(batches)

    torch.set_rng_state(states[0]), random.setstate(states[1]), np.random.set_state(states[2])

    assert_equal(collected(loader, start=2), rest)
