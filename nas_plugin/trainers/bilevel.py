"""Bilevel search: logits on one half of the training set, weights on the other, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.mutators.mutator import REPEATABLE
from nas_plugin.operations.batch_norm import kept_statistics
from nas_plugin.trainers.arch_trainer import ArchTrainer
from nas_plugin.trainers.fit import check_fit
from nas_plugin.trainers.gradients import gradients_of
from nas_plugin.trainers.hypergradient import (
    Product,
    check_plain_sgd,
    finite_difference,
    second_order,
)
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss, Values
from nas_plugin.trainers.options import (
    ArchOptions,
    BilevelOptions,
    Hessian,
    ModelLike,
    OptimizerLike,
)
from nas_plugin.trainers.search_trainer import MutatorLike

HESSIANS = ("finite_difference", "exact")


class BilevelTrainer(ArchTrainer):
    """Alternates a step of the logits and a step of the weights on separate halves of the data.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer. It is plain
            SGD if `unrolled`.
        num_epochs: Epochs in all.
        dataset_train: Split into the halves, or a pair (for weights, for logits).
        dataset_valid: The held-out set that neither sees.
        mutator: Name, class, factory or instance.
        unrolled: Second order: the logits' gradient through one step of the weights.
        hessian: ``finite_difference``, the paper's, or ``exact``, a Hessian-vector product. On
            networks with ReLU and max pooling they are different estimators.
        split: The weights' part of the training set.
        **options: As `ArchTrainer`, `SearchTrainer` and `Trainer` take them.

    Raises:
        OptionError: If an argument is not allowed or the mutator has no logits.

    References:
        Liu et al. 2019, algorithm 1, https://arxiv.org/abs/1806.09055
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
        mutator: MutatorLike,
        unrolled: bool = False,
        hessian: Hessian = "finite_difference",
        split: float = 0.5,
        **options: Unpack[ArchOptions],
    ) -> None:
        if hessian not in HESSIANS:
            raise OptionError(f"hessian must be one of {', '.join(HESSIANS)}, got {hessian!r}.")
        if not 0 < split < 1:
            raise OptionError(f"split must be between 0 and 1, got {split}.")
        if hessian == "exact" and not unrolled:
            raise OptionError("hessian='exact' is a form of the second order: set unrolled=True.")
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip
        if unrolled:
            check_plain_sgd(self.optimizer)
            check_fit(self.mutator, self.needs | {REPEATABLE}, f"{type(self).__name__} (unrolled)")
        self.unrolled, self.hessian = unrolled, hessian
        weights, logits = self.split(dataset_train, split)
        self.arch_part = logits
        self.train_loader = self.loaders.training(*weights)
        self.arch_loader = self.loaders.training(*logits, part=1)
        self.require_batches(
            weights=(weights, self.train_loader), logits=(logits, self.arch_loader)
        )

    @property
    def steps_per_epoch(self) -> int:
        return min(len(self.train_loader), len(self.arch_loader))

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Batch, Batch]]:
        weights = self.train_loader.batches(epoch, start)
        logits = self.arch_loader.batches(epoch, start)
        return zip(weights, logits, strict=False)

    def train_step(self, batch: tuple[Batch, Batch]) -> Values:
        train_batch, valid_batch = batch
        if self.schedule.is_due(self.epoch, self.batch):
            self.arch_step(train_batch, valid_batch)
        return self.weight_step(train_batch)

    def weight_step(self, batch: Batch) -> Values:
        """Steps the weights on one batch; logits get no gradient."""
        grads, values = self.gradients(batch, self.weights, perturbation=self.perturbation)
        self.step_weights(self.weights, grads)
        return values

    def arch_step(self, train_batch: Batch, valid_batch: Batch) -> None:
        """Steps the logits on a held-out batch."""
        grads = self.arch_gradient(train_batch, valid_batch)
        self.gradients.step(self.arch_optimizer, self.alphas, grads)
        self.mutator.after_arch_step()

    def arch_gradient(self, train_batch: Batch, valid_batch: Batch) -> Sequence[Tensor | None]:
        """Returns the gradient of every table of logits, averaged over the ranks."""
        if not self.unrolled:
            return self.gradients(valid_batch, self.alphas, terms=self.terms, held_out=True)[0]
        product: Product
        if self.hessian == "exact":
            product = partial(self._hessian_product, train_batch)
        else:
            product = finite_difference(
                self.weights, lambda: self.gradients(train_batch, self.alphas)[0]
            )
        return second_order(
            self.optimizer,
            self.weights,
            self.alphas,
            lambda wrt: self.gradients(train_batch, wrt)[0],
            partial(self._virtual_gradient, valid_batch),
            product,
        )

    def _virtual_gradient(self, batch: Batch, wrt: Sequence[nn.Parameter]) -> list[Tensor | None]:
        """Returns the gradient at the virtual weights, whose statistics are not the model's."""
        with kept_statistics(self.model):
            return self.gradients(batch, wrt, terms=self.terms, held_out=True)[0]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "second order": self.unrolled and self.hessian}

    def _hessian_product(self, batch: Batch, v: list[Tensor]) -> list[Tensor | None]:
        """Returns ``(d2 L_trn / d alpha d w) v`` by differentiating ``<grad_w L_trn, v>``."""
        totals = [torch.zeros_like(alpha) for alpha in self.alphas]
        for part, share in self.gradients.parts(batch, needs_alphas=True):
            scaled = self.precision.scale(self.objective(part)[0] * share)
            grads = gradients_of(scaled, self.weights, create_graph=True)
            reached = [(g, u) for g, u in zip(grads, v, strict=True) if g is not None]
            products = torch.autograd.grad(
                [g for g, _ in reached],
                self.alphas,
                grad_outputs=[u for _, u in reached],
                allow_unused=True,
            )
            for total, term in zip(totals, products, strict=True):
                if term is not None:
                    total += term
        return self.gradients.averaged(totals)


class DartsTrainer(BilevelTrainer):
    """DARTS: the bilevel trainer with the DARTS mutator.

    Args:
        mutator: Another differentiable mutator in place of ``darts``.
        **options: As `BilevelTrainer` takes them, beside its first seven arguments.

    References:
        Liu et al. 2019, https://arxiv.org/abs/1806.09055
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
        **options: Unpack[BilevelOptions],
    ) -> None:
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator or "darts", **options,
        )  # fmt: skip
