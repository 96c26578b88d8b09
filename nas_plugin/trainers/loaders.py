"""The data of a run: loaders of its parts that agree in augmentation, order, ranks and device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nas_plugin.data import Loader, check_alike, described, make_loader, standard_augment
from nas_plugin.data.split import part_seed
from nas_plugin.runtime import Ranks


class Loaders:
    """Makes the loaders of a trainer.

    Args:
        dataset_train: What is trained on, or a pair of it; images are normalised by its first.
        dataset_valid: The held-out set.
        ranks: The processes that share the training samples.
        augment: Applied to training batches; ``auto`` is what the training set says of itself.
        eval_augment: Applied to held-out batches; ``auto`` normalises them as the training set.
        batch_size: Samples a process and step.
        seed: Seeds the order of the samples and the augmentation.
        device: Where batches go.
        workers: Processes that load data that is not resident.
        limit_batches: The most batches of every loader; None for all.

    Attributes:
        eval_augment: What is applied to held-out batches; None leaves them as they are.

    Raises:
        DataError: If the two sets cannot be read by one network.
    """

    def __init__(
        self,
        dataset_train: Any,
        dataset_valid: Any,
        ranks: Ranks,
        *,
        augment: Any,
        eval_augment: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int,
        limit_batches: int | None,
    ) -> None:
        check_alike(dataset_train, dataset_valid)
        pair = isinstance(dataset_train, (tuple, list)) and len(dataset_train) > 0
        first = dataset_train[0] if pair else dataset_train
        if augment == "auto":
            augment = standard_augment(first, train=True, seed=seed)
        if eval_augment == "auto":
            eval_augment = standard_augment(first, train=False)
        self._augment, self.eval_augment = augment, eval_augment
        self._ranks, self._seed = ranks, seed
        self._options: dict[str, Any] = {
            "batch_size": batch_size,
            "device": device,
            "workers": workers,
            "limit_batches": limit_batches,
        }

    @property
    def samples_per_step(self) -> int:
        """Samples of one step of all ranks."""
        return int(self._options["batch_size"]) * self._ranks.world_size

    @property
    def inputs_as(self) -> str:
        """What happens to inputs before the model sees them, in words."""
        return (
            f"training inputs {described(self._augment)}; "
            f"held-out inputs {described(self.eval_augment)}"
        )

    def training(self, dataset: Any, indices: Tensor | None = None, *, part: int = 0) -> Loader:
        """Returns a shuffled, augmented loader of this rank's share of a training set.

        Parts of other numbers have orders of their own: in one order, a sample of the weights'
        half would meet the same sample of the logits' half in every epoch.
        """
        return self._made(dataset, indices, part, self._augment, shuffle=True)

    def held_out(
        self, dataset: Any, indices: Tensor | None = None, *, shuffle: bool = False, part: int = 0
    ) -> Loader:
        """Returns a loader without augmentation.

        In fixed order every rank reads all of it, the last samples included, so that all ranks
        hold the same figures.
        """
        return self._made(dataset, indices, part, self.eval_augment, shuffle=shuffle)

    def _made(
        self, dataset: Any, indices: Tensor | None, part: int, augment: Any, *, shuffle: bool
    ) -> Loader:
        return make_loader(
            dataset,
            indices=indices,
            augment=augment,
            shuffle=shuffle,
            drop_last=shuffle,
            seed=part_seed(self._seed, part),
            rank=self._ranks.rank if shuffle else 0,
            world_size=self._ranks.world_size if shuffle else 1,
            **self._options,
        )
