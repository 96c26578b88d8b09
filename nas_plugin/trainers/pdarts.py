"""P-DARTS: deeper networks and fewer candidates from stage to stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import Unpack

from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.files import write_atomic
from nas_plugin.operations.skip_dropout import DroppedSkip, drop_skips
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.discretize import discretize
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.space.skips import NORMAL, SKIPS, skips_in
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss
from nas_plugin.trainers.options import BilevelOptions
from nas_plugin.trainers.search_trainer import MutatorLike
from nas_plugin.trainers.staged import Made, StagedTrainer, remove_candidates

#: Layers → network, loss, optimizer of its weights, scheduler of the learning rate or None.
ModelCreator = Callable[[int], tuple[nn.Module, Loss, Optimizer, LRScheduler | None]]


class PdartsTrainer(StagedTrainer):
    """Searches in stages of growing depth, in which each choice keeps fewer candidates.

    Every stage has a new network and new logits. What is removed is gone from memory and time. In
    each stage the first `warmup_epochs` train the weights only. Identities among the candidates
    drop numbers with a probability that begins at the stage's rate and decays. The architecture
    holds at most `max_skips` skip connections in the normal cell: the least probable one is
    taken away and the cell derived again.

    Args:
        model_creator: Makes network, loss, optimizer and scheduler (or None) of so many layers.
        init_layers: Layers of the first stage.
        metrics: ``(output, target) -> {name: number}``.
        num_epochs: Epochs of each stage.
        dataset_train: Split into the halves, or a pair (for weights, for logits).
        dataset_valid: The held-out set that neither sees.
        pdarts_num_layers: For each stage, layers beyond `init_layers`.
        pdarts_num_to_drop: For each stage, candidates that every choice loses at its end. After
            the last one the strongest that is left is the architecture's.
        skip_dropout: For each stage, the rate of the dropout on skip connections; one number is
            for all.
        max_skips: Skip connections in the normal cell at most; None does not limit them.
        mutator: Another differentiable mutator in place of ``darts``, by name, class or factory.
        arch_grad_clip: Largest norm of the logits' gradient; None does not clip.
        **options: As `BilevelTrainer` takes them; ``warmup_epochs`` is two fifths of a stage by
            default.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Chen et al. 2019, https://arxiv.org/abs/1904.12760
    """

    def __init__(
        self,
        model_creator: ModelCreator,
        init_layers: int,
        metrics: Metrics,
        num_epochs: int,
        dataset_train: Any,
        dataset_valid: Any,
        pdarts_num_layers: Sequence[int] = (0, 6, 12),
        pdarts_num_to_drop: Sequence[int] = (3, 2, 2),
        *,
        skip_dropout: float | Sequence[float] = (0.1, 0.4, 0.7),
        max_skips: int | None = 2,
        mutator: MutatorLike = "darts",
        arch_grad_clip: float | None = 5.0,
        **options: Unpack[BilevelOptions],
    ) -> None:
        n = len(pdarts_num_layers)
        rates = [skip_dropout] * n if isinstance(skip_dropout, (int, float)) else [*skip_dropout]
        if n < 1 or len(pdarts_num_to_drop) != n or len(rates) != n:
            raise OptionError(
                "pdarts_num_layers, pdarts_num_to_drop and skip_dropout have an entry for each "
                f"stage; got {n}, {len(pdarts_num_to_drop)} and {len(rates)}."
            )
        if not all(0 <= rate < 1 for rate in rates) or min(pdarts_num_to_drop) < 0:
            raise OptionError(
                "Dropout rates must be in [0, 1) and numbers to drop must not be negative, got "
                f"{rates} and {list(pdarts_num_to_drop)}."
            )
        if max_skips is not None and max_skips < 0:
            raise OptionError(f"max_skips must not be negative, got {max_skips}.")
        self.model_creator = model_creator
        self.layers = [init_layers + more for more in pdarts_num_layers]
        self.rates, self.max_skips, self.arch_grad_clip = rates, max_skips, arch_grad_clip
        self.num_to_drop = list(pdarts_num_to_drop)
        self._skips: list[DroppedSkip] = []
        given = options.get("warmup_epochs")
        self.warmup = int(0.4 * num_epochs) if given is None else given
        options["warmup_epochs"] = self.warmup
        super().__init__(
            n, (), metrics, num_epochs, dataset_train, dataset_valid, mutator=mutator, **options,
        )  # fmt: skip
        if self.warmup >= num_epochs:
            raise OptionError(
                f"warmup_epochs ({self.warmup}) must be below num_epochs ({num_epochs}), the "
                "epochs of a stage, for the logits to be trained."
            )
        layers = [c for c in self.mutator.space.values() if c.kind == "layer"]
        self._widest = max((len(c.candidates) for c in layers), default=0)
        left = self._widest
        for drop in self.num_to_drop:
            left -= drop
            self.keep.append(left)
        if left < 1:
            raise OptionError(
                f"pdarts_num_to_drop={self.num_to_drop} leaves none of {self._widest} candidates."
            )

    def make(self, stage: int) -> Made:
        model, loss, optimizer, scheduler = self.model_creator(self.layers[stage])
        drop_skips(model)
        remove_candidates(model, self.kept, optimizer)
        self._skips = [m for m in model.modules() if isinstance(m, DroppedSkip)]
        return Made(model, loss, optimizer, scheduler)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        p = self.dropout(self.stage_epoch)
        for skip in self._skips:
            skip.p = p

    def dropout(self, epoch: int) -> float:
        """Returns the rate of dropout on skip connections in an epoch of the stage."""
        rate, total = self.rates[self.stage], self.stage_epochs
        if epoch < self.warmup:
            return rate * (total - epoch - 1) / total
        return rate * math.exp(-0.2 * (epoch - self.warmup))

    def arch_step(self, train_batch: Batch, valid_batch: Batch) -> None:
        grads = self.arch_gradient(train_batch, valid_batch)
        self.gradients.step(self.arch_optimizer, self.alphas, grads, self.arch_grad_clip)
        self.mutator.after_arch_step()

    def export(self, path: str | Path | None = None) -> Architecture:
        """Returns the strongest architecture with few skip connections in the normal cell."""
        architecture: Architecture = super().export()
        if self.max_skips is not None:
            space = self.mutator.space
            architecture = with_few_skips(
                space, self.mutator.status(), architecture, self.max_skips
            )
        if path is not None:
            write_atomic(Path(path), architecture.dumps())
        return architecture


def with_few_skips(
    space: SearchSpace,
    status: Mapping[str, Mapping[str, float]],
    architecture: Architecture,
    limit: int,
) -> Architecture:
    """Returns an architecture with at most `limit` skip connections in the normal cell.

    While there are more, the least probable of them gets the probability 0, and the architecture
    is derived again: its edge then counts with its next candidate, and may lose its place.
    A space without cells called normal is left as it is.

    Args:
        space: The search space.
        status: Key → candidate → probability.
        architecture: The strongest one.
        limit: Largest number.

    Raises:
        OptionError: If an edge has nothing but skip connections left.
    """
    layers = [k for k, c in space.items() if c.kind == "layer" and k.startswith(NORMAL)]
    scores = {k: dict(row) for k, row in status.items()}
    while len(found := skips_in(architecture, layers, SKIPS)) > limit:
        weakest = min(found, key=lambda key: scores[key][str(architecture[key])])
        name = str(architecture[weakest])
        if scores[weakest][name] <= 0:
            raise OptionError(
                f"The choice '{weakest}' has no candidate but skip connections left, so max_skips="
                f"{limit} cannot be met. Drop fewer candidates, or set max_skips=None."
            )
        scores[weakest][name] = 0.0
        rows = {k: [row[str(c)] for c in space[k].candidates] for k, row in scores.items()}
        architecture = discretize(space, rows)
    return architecture
