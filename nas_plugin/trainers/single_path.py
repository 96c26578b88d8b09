"""Training of a supernet one path at a time: SPOS, FairNAS, RandomNAS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from typing_extensions import Unpack

from nas_plugin.data import Loader
from nas_plugin.data.loader import Batch
from nas_plugin.directions import Mode
from nas_plugin.errors import OptionError
from nas_plugin.files import write_atomic
from nas_plugin.mutators.mutator import PATHS
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.decide import architecture_of
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.monitor import Monitor
from nas_plugin.trainers.objective import Loss, Values
from nas_plugin.trainers.options import (
    ModelLike,
    OptimizerLike,
    SearchOptions,
    SinglePathOptions,
)
from nas_plugin.trainers.search_trainer import MutatorLike, Part, SearchTrainer


class SinglePathTrainer(SearchTrainer):
    """Steps the weights on one path a batch, or on the mutator's `paths_per_step` at once.

    The gradients of the paths of one step are summed. A path that was not drawn is not computed,
    and its weights get no gradient, momentum or decay.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: What is trained on, split by `split`; or a pair (for weights, to rank by).
        dataset_valid: The held-out set, which nothing is trained on or ranked by.
        mutator: Name, class, factory or instance of one that samples paths.
        split: The weights' part of the training set, or None for all of it. The rest ranks
            architectures; a pair of data sets says so directly.
        samples: Architectures of which `export` returns the best; None where `split` is.
        monitor: The metric by which it is the best, or ``loss``.
        mode: ``max`` or ``min``: whether more or less of it is better; None for known names.
        **options: As `SearchTrainer` and `Trainer` take them.

    Raises:
        OptionError: If an argument is not allowed.
    """

    needs = frozenset({PATHS})

    def __init__(
        self,
        model: ModelLike,
        loss: Loss,
        metrics: Metrics,
        optimizer: OptimizerLike,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        mutator: MutatorLike,
        split: float | None = None,
        samples: int | None = None,
        monitor: str = "accuracy",
        mode: Mode | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip
        if (split is None) != (samples is None):
            raise OptionError("split and samples belong together: give both or neither.")
        if split is not None and not 0 < split < 1:
            raise OptionError(f"split must be between 0 and 1, got {split}.")
        if samples is not None and samples < 1:
            raise OptionError(f"samples must be at least 1, got {samples}.")
        self.samples = samples
        self.monitor = Monitor(monitor, mode, self.objective.metrics)
        weights: Part = (self.dataset_train, None)
        self.select_loader: Loader | None = None
        parts: dict[str, tuple[Part, Loader]] = {}
        if split is not None:
            weights, ranking = self.split(self.dataset_train, split)
            self.select_loader = self.loaders.held_out(*ranking)
            parts["ranking"] = ranking, self.select_loader
        self.train_loader = self.loaders.training(*weights)
        self.require_batches(weights=(weights, self.train_loader), **parts)
        self._found: tuple[int, Architecture] | None = None

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train_loader)

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        return self.train_loader.batches(epoch, start)

    def train_step(self, batch: Any) -> Values:
        return self.weight_step(batch)

    def weight_step(self, batch: Batch) -> Values:
        """Steps the weights on the sum of the gradients of one step's paths."""
        reached, grads, values = self.gradients.of_paths(batch, self.mutator.paths_per_step)
        self.step_weights(reached, grads)
        if self.samples is not None:
            self.monitor.check(values)
        return values

    @property
    def finds_architecture(self) -> bool:  # type: ignore[override]
        return self.samples is not None

    def export(self, path: str | Path | None = None) -> Architecture:
        """Returns the best of `samples` architectures by one-shot validation.

        Raises:
            OptionError: If there are no `samples`: which path is best, a second stage finds.
        """
        if self.samples is None:
            raise OptionError(
                f"{type(self).__name__} trains all paths alike and knows no best one. A second "
                "stage finds it: search with the strategy 'spos' on a SupernetEvaluator, as "
                "examples/spos/evolution.py does. Or give split and samples, of which the best is "
                "exported."
            )
        if self._found is None or self._found[0] != self.step:
            self._found = (self.step, self._best_of(self.samples))
        architecture = self._found[1]
        if path is not None:
            write_atomic(Path(path), architecture.dumps())
        return architecture

    def measure(self, architecture: Mapping[str, Any]) -> dict[str, float]:
        """Returns loss and metrics of one architecture on the part that ranks them.

        It stays fixed over all batches. Batch norms use the batches' own statistics: the running
        ones are those of all paths together.
        """
        if self.select_loader is None:
            raise OptionError("There is no part of the data to rank by: give split and samples.")
        self.mutator.use(architecture)
        return self.objective.measured(self.select_loader, own_statistics=True)

    def _best_of(self, samples: int) -> Architecture:
        tried: dict[Architecture, float] = {}
        with self.aside(), torch.no_grad():
            for _ in range(samples):
                self.mutator.reset()
                architecture = architecture_of(self.mutator.space, self.mutator.binding.decisions)
                if architecture in tried:
                    continue
                tried[architecture] = self.monitor(self.measure(architecture))
        best, highest = next(iter(tried)), self.monitor.worst
        for architecture, value in tried.items():
            if self.monitor.is_better(value, highest):
                best, highest = architecture, value
        self.record("found", {self.monitor.name: tried[best], "tried": len(tried)})
        return best


class SPOSSupernetTrainer(SinglePathTrainer):
    """Single Path One-Shot: trains all of a supernet on the whole training set.

    The second stage looks for the best path: `nas_plugin.evaluation.SupernetEvaluator` with the
    strategy ``spos``.

    Args:
        mutator: Another one that samples paths in place of ``spos``, such as ``fairnas``.
        **options: As `SinglePathTrainer` takes them, beside its first seven arguments.

    References:
        Guo et al. 2019, https://arxiv.org/abs/1904.00420
    """

    def __init__(
        self,
        model: ModelLike,
        loss: Loss,
        metrics: Metrics,
        optimizer: OptimizerLike,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        mutator: MutatorLike | None = None,
        **options: Unpack[SinglePathOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator or "spos", **options,
        )  # fmt: skip


class RandomNasTrainer(SinglePathTrainer):
    """Random search with weight sharing: uniform paths, then the best of N by one-shot validation.

    Args:
        mutator: Another one that samples paths in place of ``random``.
        split: The weights' part of the training set; the rest ranks.
        samples: N, the architectures of which `export` returns the best.
        **options: As `SinglePathTrainer` takes them, beside its first seven arguments.

    References:
        Li & Talwalkar 2019, https://arxiv.org/abs/1902.07638
    """

    def __init__(
        self,
        model: ModelLike,
        loss: Loss,
        metrics: Metrics,
        optimizer: OptimizerLike,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        mutator: MutatorLike | None = None,
        split: float = 0.5,
        samples: int = 100,
        monitor: str = "accuracy",
        mode: Mode | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator or "random", split=split, samples=samples, monitor=monitor,
            mode=mode, **options,
        )  # fmt: skip
