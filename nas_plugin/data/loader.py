"""Batches of an epoch, from any step on, as a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, get_worker_info

from nas_plugin.data.augment import Augment
from nas_plugin.data.dataset import ArrayDataset
from nas_plugin.data.nested import mapped
from nas_plugin.data.split import epoch_order
from nas_plugin.errors import DataError, OptionError

Batch = tuple[Any, Any]
#: What a list of batches does not hold.
_SETS = (Dataset, DataLoader)


class Loader(Protocol):
    """Gives the batches of any epoch, beginning at any of them."""

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields inputs and targets on the device, from batch `start` of `epoch` on."""
        ...


def make_loader(
    dataset: Any,
    *,
    batch_size: int,
    seed: int,
    indices: Tensor | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    augment: Augment | None = None,
    device: str | torch.device = "cpu",
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    limit_batches: int | None = None,
) -> Loader:
    """Returns the loader that suits `dataset`.

    An `ArrayDataset` stays on the device; another data set of torch is read by its DataLoader; a
    DataLoader or another sized iterable of batches is taken as it is.

    Args:
        dataset: Samples or batches.
        batch_size: Samples a process; a global batch has `world_size` times as many, and the
            rank takes its rows ``rank::world_size``.
        seed: The order follows from it and the epoch.
        indices: The samples to use; None uses all.
        shuffle: Draw a new order every epoch.
        drop_last: Leave out a last batch that is not full.
        augment: Applied on the device, where samples come from memory or a data set.
        device: Where batches go.
        workers: Processes that read, where samples are not in memory.
        rank: This process.
        world_size: How many there are.
        limit_batches: Batches an epoch at most.

    Raises:
        OptionError: If an argument is not allowed.
        DataError: If `dataset` cannot be read in batches.
    """
    if batch_size < 1 or workers < 0 or not 0 <= rank < world_size:
        raise OptionError(
            f"batch_size must be positive, workers not negative and rank below world_size; got "
            f"{batch_size}, {workers}, {rank} of {world_size}."
        )
    if isinstance(dataset, Dataset) and isinstance(dataset, Sized):
        plan = BatchPlan(
            len(dataset) if indices is None else indices,
            batch_size,
            seed,
            shuffle=shuffle,
            # Ranks must take equal numbers of steps.
            drop_last=drop_last or world_size > 1,
            rank=rank,
            world_size=world_size,
            limit=limit_batches,
        )
        if isinstance(dataset, ArrayDataset):
            return ResidentLoader(dataset, plan, augment, torch.device(device))
        return StreamingLoader(dataset, plan, augment, torch.device(device), workers, seed)
    if not isinstance(dataset, Sized) or not hasattr(dataset, "__iter__"):
        raise DataError(
            f"A {type(dataset).__name__} cannot be read in batches. Give an ArrayDataset, a torch "
            "data set with a length, or a DataLoader."
        )
    if isinstance(dataset, (tuple, list)) and any(isinstance(p, _SETS) for p in dataset):
        raise OptionError(
            f"Here one data set or loader is read, got {len(dataset)} of them in a "
            f"{type(dataset).__name__}. A pair (for weights, for the architecture) is the "
            "dataset_train of trainers that split it; join sets with torch's ConcatDataset."
        )
    if indices is not None or augment is not None or world_size > 1:
        raise OptionError(
            "A loader that was made before cannot be split, augmented or shared among ranks. Give "
            "the data set instead, or a pair of loaders (for weights, for logits)."
        )
    return WrappedLoader(dataset, seed, torch.device(device), limit_batches)


class BatchPlan:
    """Which samples the batches of an epoch hold.

    Args:
        samples: Their number, or their indices.
        batch_size: Of one process.
        seed: The order is f(seed, epoch).
        shuffle: Draw a new order every epoch.
        drop_last: Leave out a last batch that is not full.
        rank: This process takes the rows ``rank::world_size`` of each global batch.
        world_size: How many processes there are.
        limit: Batches at most.
    """

    def __init__(
        self,
        samples: int | Tensor,
        batch_size: int,
        seed: int,
        *,
        shuffle: bool,
        drop_last: bool,
        rank: int,
        world_size: int,
        limit: int | None,
    ) -> None:
        self.indices = torch.arange(samples) if isinstance(samples, int) else samples
        self._global = batch_size * world_size
        n = len(self.indices)
        whole = n // self._global if drop_last else -(-n // self._global)
        self._count = whole if limit is None else min(whole, limit)
        self._seed, self._shuffle = seed, shuffle
        self._rank, self._world_size = rank, world_size

    def __len__(self) -> int:
        return self._count

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """Yields the sample indices of each batch from `start` on."""
        order = self.indices
        if self._shuffle:
            order = order[epoch_order(len(order), self._seed, epoch)]
        for i in range(start, self._count):
            batch = order[i * self._global : (i + 1) * self._global]
            yield batch[self._rank :: self._world_size]


class ResidentLoader:
    """Batches of a data set that lies on the device."""

    def __init__(
        self,
        dataset: ArrayDataset,
        plan: BatchPlan,
        augment: Augment | None,
        device: torch.device,
    ) -> None:
        self._inputs = dataset.inputs.to(device)
        self._targets = dataset.targets.to(device)
        self._plan, self._augment, self._device = plan, augment, device

    def __len__(self) -> int:
        return len(self._plan)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for cpu_indices in self._plan.epoch(epoch, start):
            indices = cpu_indices.to(self._device)
            inputs = self._inputs[indices]
            yield _prepared(inputs, indices, epoch, self._augment), self._targets[indices]


class StreamingLoader:
    """Batches of a data set that is read as it is used, by torch's DataLoader."""

    def __init__(
        self,
        dataset: Dataset[Any],
        plan: BatchPlan,
        augment: Augment | None,
        device: torch.device,
        workers: int,
        seed: int,
    ) -> None:
        self._dataset, self._seed = dataset, seed
        self._plan, self._augment, self._device = plan, augment, device
        self._workers = workers

    def __len__(self) -> int:
        return len(self._plan)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        batches = [indices.tolist() for indices in self._plan.epoch(epoch, start)]
        loader = DataLoader(
            _Numbered(self._dataset, self._seed, epoch),
            batch_sampler=_Given(batches),
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            # Workers draw from a generator of their own, never from the search's.
            generator=torch.Generator().manual_seed(epoch),
        )
        for cpu_indices, given in loader:
            inputs, targets = _pair(given)
            indices = cpu_indices.to(self._device, non_blocking=True)
            moved = _moved(inputs, self._device)
            yield _prepared(moved, indices, epoch, self._augment), _moved(targets, self._device)


class WrappedLoader:
    """Batches of a loader that the user made.

    Its generator, or its sampler's, is seeded anew for every epoch where it has one; what it draws
    otherwise is its own. Steps before `start` are read and passed over; what they draw from the
    global generators is drawn as if it had not been.
    """

    def __init__(self, loader: Any, seed: int, device: torch.device, limit: int | None) -> None:
        self._loader, self._seed, self._device, self._limit = loader, seed, device, limit
        missing = object()
        self._drawing = [
            owner
            for owner in (loader, getattr(loader, "sampler", None))
            if isinstance(getattr(owner, "generator", missing), (torch.Generator, type(None)))
        ]

    def __len__(self) -> int:
        n = len(self._loader)
        return n if self._limit is None else min(n, self._limit)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + epoch) % 2**63)
        for owner in self._drawing:
            setattr(owner, "generator", generator)  # noqa: B010
        batches = islice(self._loader, len(self))
        with _global_generators_kept():
            for _ in range(start):
                next(batches, None)
        for given in batches:
            inputs, targets = _pair(given)
            yield _moved(inputs, self._device), _moved(targets, self._device)


class _Numbered(Dataset[Any]):
    """Gives each sample with its index, so that augmentation knows which it is.

    What a data set draws in a worker is f(seed, epoch, index) as well: generators that live as long
    as the worker would stand elsewhere after a resume. In the search's own process they are part
    of its checkpoint.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, epoch: int) -> None:
        self._dataset, self._seed, self._epoch = dataset, seed, epoch

    def __getitem__(self, index: int) -> Any:
        if get_worker_info() is not None:
            drawn = random.Random(f"{self._seed}/{self._epoch}/{index}").getrandbits(32)
            random.seed(drawn)
            np.random.seed(drawn)
            torch.manual_seed(drawn)
        return index, self._dataset[index]


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Undoes what the block draws from the generators of torch, NumPy and Python."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


class _Given(BatchSampler):
    """Batches of indices that were decided before."""

    def __init__(self, batches: list[list[int]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def _pair(given: Any) -> Batch:
    """Returns inputs and targets; a batch of anything else is an error."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        found = f"{len(given)} parts" if isinstance(given, (tuple, list)) else type(given).__name__
        raise DataError(
            f"A sample or batch is the pair (inputs, targets), got {found}. Several inputs or "
            "targets go into a tuple or dict of their own: ((image, mask), target)."
        )
    return given[0], given[1]


def _prepared(inputs: Any, indices: Tensor, epoch: int, augment: Augment | None) -> Any:
    if augment is not None:
        if not isinstance(inputs, Tensor):
            raise DataError(
                f"Augmentation changes a tensor of images; this data set's inputs are a "
                f"{type(inputs).__name__}. Transform them inside the data set instead."
            )
        return augment(inputs, indices, epoch)
    if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8:
        return inputs.float() / 255
    return inputs


def _moved(value: Any, device: torch.device) -> Any:
    return mapped(value, lambda tensor: tensor.to(device, non_blocking=True))
