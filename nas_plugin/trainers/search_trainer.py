"""What trainers that search share: a mutator, its records, its export, the parts of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from nas_plugin.choice.isolate import found_writes, recall_writes
from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.data import Loader, split_indices
from nas_plugin.errors import OptionError
from nas_plugin.execution import attach
from nas_plugin.files import write_atomic
from nas_plugin.mutators import Mutator, mutators
from nas_plugin.mutators.mutator import REPEATABLE
from nas_plugin.space.architecture import Architecture
from nas_plugin.trainers.fit import check_fit
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss
from nas_plugin.trainers.options import ModelLike, OptimizerLike, TrainerOptions
from nas_plugin.trainers.trainer import Trainer

MutatorLike = str | Mutator | type[Mutator] | Callable[[nn.Module], Mutator]
#: A data set and which of its samples; None is all.
Part = tuple[Any, Tensor | None]


class SearchTrainer(Trainer):
    """A trainer whose model is decided by a mutator.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: What is trained on.
        dataset_valid: The held-out set, which nothing is trained on.
        mutator: Name in the registry, class, factory, or an instance made for `model`.
        execution: How choice blocks run: ``auto`` the fastest way that is there, ``eager`` block by
            block, or the name of an executor; results are equal.
        **options: As `Trainer` takes them.

    Raises:
        OptionError: If the mutator does not give what the trainer `needs`, or a parameter belongs
            to both the mutator and the weight optimizer.
    """

    #: What the mutator must give, of `nas_plugin.mutators.mutator.GIFTS`.
    needs: ClassVar[frozenset[str]] = frozenset()
    finds_architecture = True

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
        execution: str = "auto",
        **options: Unpack[TrainerOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            **options,
        )  # fmt: skip
        self.mutator = make_mutator(mutator, self.model, self.seed).to(self.device)
        try:
            check_fit(self.mutator, self.needs, type(self).__name__)
        except OptionError:
            if self.mutator is not mutator:
                self.mutator.unbind(self.model)
            raise
        self._execution = attach(self.mutator.binding, execution)
        self.alphas = [p for p in self.mutator.parameters() if p.requires_grad]
        shared = {id(p) for p in self.alphas} & {id(p) for p in self.weights}
        if shared:
            raise OptionError(
                f"{len(shared)} parameters belong to the mutator and to the weight optimizer. "
                "Make the optimizer of model.parameters() only."
            )
        self.gradients.mutator, self.gradients.alphas = self.mutator, self.alphas
        self.ranks.start_alike(self.mutator)

    def start_epoch(self, epoch: int) -> None:
        self.mutator.start_epoch(self.progress(epoch))

    def progress(self, epoch: int) -> float:
        """Returns the finished part of the search, 0 in the first epoch and 1 in the last."""
        return epoch / max(1, self.num_epochs - 1)

    @property
    def trains_logits(self) -> bool:
        """Whether the mutator learns in the epoch that runs."""
        return True

    def end_epoch(self) -> None:
        self.record("choices", {"probabilities": self.mutator.status()})

    def validate(self) -> dict[str, float]:
        """Returns loss and metrics on the held-out set.

        A mutator that draws does so for every batch, and each batch is normalised by its own
        statistics, as the running ones are those of all draws together. The draws do not count:
        the search goes on with those that it would have made.
        """
        if REPEATABLE not in self.mutator.gives:
            with self.aside():
                return self.objective.measured(
                    self.valid_loader, before_batch=self.mutator.reset, own_statistics=True
                )
        with torch.no_grad():
            self.mutator.reset()
        return super().validate()

    def export(self, path: str | Path | None = None) -> Architecture:
        """Returns the best architecture, and writes it to `path` if one is given."""
        architecture = self.mutator.export()
        if path is not None:
            write_atomic(Path(path), architecture.dumps())
        return architecture

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "mutator": self.mutator.state_dict(),
            "writes": found_writes(self.model),
        }

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "execution": self._execution}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mutator.load_state_dict(state["mutator"])
        super().load_state_dict(state)
        recall_writes(self.model, state["writes"])

    def split(self, dataset: Any, share: float) -> tuple[Part, Part]:
        """Returns the weights' and the architecture's part of a training set.

        Args:
            dataset: Split by the seed, or a pair (for weights, for the architecture).
            share: The weights' part.

        Raises:
            OptionError: If it is neither.
        """
        if isinstance(dataset, (tuple, list)):
            if len(dataset) != 2:
                raise OptionError(
                    "dataset_train is one data set to split, or the pair (for weights, for the "
                    f"architecture); got {len(dataset)} entries."
                )
            return (dataset[0], None), (dataset[1], None)
        if not isinstance(dataset, Sized):
            raise OptionError(
                f"A {type(dataset).__name__} has no length, so it cannot be split. Give a data set "
                "with a length, or the pair (for weights, for the architecture) of loaders that "
                "have one."
            )
        first, second = split_indices(len(dataset), (share, 1 - share), seed=self.seed)
        return (dataset, first), (dataset, second)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Lets the mutator draw without moving the search's own random state."""
        state = self.mutator.get_extra_state()
        try:
            yield
        finally:
            self.mutator.set_extra_state(state)

    def measuring(self, samples: Part) -> Loader:
        """Returns a loader of all samples of a part, in fixed order and without augmentation."""
        return self.loaders.held_out(*samples)

    def require_batches(self, **parts: tuple[Part, Loader]) -> None:
        """Checks that every part of the training set gives a batch.

        Raises:
            OptionError: If one does not; it says how many samples each holds.
        """
        if all(len(loader) > 0 for _, loader in parts.values()):
            return
        counts = {
            name: len(dataset if indices is None else indices)
            for name, ((dataset, indices), _) in parts.items()
        }
        raise OptionError(
            "The training set is too small: a batch holds "
            f"{self.loaders.samples_per_step} samples, the parts hold "
            f"{', '.join(f'{n} ({name})' for name, n in counts.items())}. Lower batch_size or use "
            "more data."
        )


def make_mutator(mutator: MutatorLike, model: nn.Module, seed: int) -> Mutator:
    """Returns the mutator that is meant by a name, a class, a factory or an instance.

    Raises:
        OptionError: If it is none of them, or decides another model.
    """
    if isinstance(mutator, str):
        mutator = mutators.get(mutator)
    if isinstance(mutator, type) and issubclass(mutator, Mutator):
        return mutator(model, seed=seed)
    made: object = mutator
    if callable(mutator) and not isinstance(mutator, (nn.Module, type)):
        made = mutator(model)
    if not isinstance(made, Mutator):
        raise OptionError(f"A mutator is a name, a class, a factory or a Mutator, got {mutator!r}.")
    if any(entry.block.binding is not made.binding for entry in keyed_blocks(model)):
        raise OptionError(
            f"The {type(made).__name__} decides another model than the one to be searched. Make it "
            "of this model, or call mutator.bind(model)."
        )
    return made
