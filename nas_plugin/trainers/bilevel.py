"""Bilevel search: logits on one half of the training set, weights on the other, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from typing_extensions import Unpack

from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.trainers.gradients import gradients_of
from nas_plugin.trainers.hypergradient import (
    Product,
    check_plain_sgd,
    finite_difference,
    second_order,
)
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Batch, Loss, Values
from nas_plugin.trainers.options import (
    BilevelOptions,
    Hessian,
    ModelLike,
    OptimizerLike,
    SearchOptions,
)
from nas_plugin.trainers.parts import (
    ArchSchedule,
    MutatorPenalty,
    Perturbation,
    Regularizer,
    SearchPart,
)
from nas_plugin.trainers.search_trainer import MutatorLike, SearchTrainer

HESSIANS = ("finite_difference", "exact")


class BilevelTrainer(SearchTrainer):
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
        arch_optimizer: Of the logits; by default the mutator's own, else Adam with
            `arch_learning_rate`, `arch_betas` and `arch_weight_decay`.
        arch_learning_rate: Learning rate of the default optimizer; 3e-4 if None.
        arch_weight_decay: Weight decay of the default optimizer; 1e-3 if None.
        arch_betas: Betas of the default optimizer; (0.5, 0.999) if None.
        warmup_epochs: Epochs that train the weights only.
        unrolled: Second order: the logits' gradient through one step of the weights.
        hessian: ``finite_difference``, the paper's, or ``exact``, a Hessian-vector product. On
            networks with ReLU and max pooling they are different estimators.
        split: The weights' part of the training set.
        perturbation: Changes the mix in the steps of the weights.
        regularizers: Terms of the logits' loss, beside the mutator's own penalty.
        schedule: Which steps train the logits; all after `warmup_epochs` if None.
        **options: As `SearchTrainer` and `Trainer` take them.

    Raises:
        OptionError: If an argument is not allowed or the mutator has no logits.

    References:
        Liu et al. 2019, algorithm 1, https://arxiv.org/abs/1806.09055
    """

    #: Of the logits, where no optimizer is given: the paper's.
    adam: ClassVar[Mapping[str, Any]] = {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3}

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
        arch_optimizer: Optimizer | None = None,
        arch_learning_rate: float | None = None,
        arch_weight_decay: float | None = None,
        arch_betas: tuple[float, float] | None = None,
        warmup_epochs: int = 0,
        unrolled: bool = False,
        hessian: Hessian = "finite_difference",
        split: float = 0.5,
        perturbation: Perturbation | None = None,
        regularizers: Sequence[Regularizer] = (),
        schedule: ArchSchedule | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        if hessian not in HESSIANS:
            raise OptionError(f"hessian must be one of {', '.join(HESSIANS)}, got {hessian!r}.")
        if not 0 < split < 1:
            raise OptionError(f"split must lie between 0 and 1, got {split}.")
        if hessian == "exact" and not unrolled:
            raise OptionError("hessian='exact' is a form of the second order: set unrolled=True.")
        if schedule is not None and warmup_epochs:
            raise OptionError("schedule says when the logits train, so warmup_epochs must be 0.")
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip
        if unrolled:
            check_plain_sgd(self.optimizer)
        if not 0 <= warmup_epochs < num_epochs:
            raise OptionError(
                f"warmup_epochs must lie in [0, {num_epochs}), for the logits to be trained in "
                f"some of the {num_epochs} epochs; got {warmup_epochs}."
            )
        if not self.alphas:
            raise OptionError(
                f"{type(self.mutator).__name__} has no logits to train. Use a differentiable "
                "mutator such as darts, or a single-path trainer."
            )
        given = {"lr": arch_learning_rate, "weight_decay": arch_weight_decay, "betas": arch_betas}
        given = {name: value for name, value in given.items() if value is not None}
        optimizer_of_logits = arch_optimizer or self.mutator.arch_optimizer(self.alphas)
        if optimizer_of_logits is not None and given:
            raise OptionError(
                f"The logits have an optimizer of their own, so {', '.join(given)} of the default "
                "one would not be used. Set them in that optimizer."
            )
        self.arch_optimizer = optimizer_of_logits or Adam(
            self.alphas, **{**self.adam, **self.mutator.arch_settings, **given}
        )
        _check_separate(self.arch_optimizer, self.weights, self.alphas)
        self.schedule = schedule or ArchSchedule(warmup_epochs)
        self.perturbation = perturbation
        self.terms: list[Regularizer] = [MutatorPenalty(), *regularizers]
        self.unrolled, self.hessian = unrolled, hessian
        weights, logits = self.split(dataset_train, split)
        self.train_loader, self.arch_loader = self.loader(*weights), self.loader(*logits)
        self.require_batches(
            weights=(weights, self.train_loader), logits=(logits, self.arch_loader)
        )

    @property
    def steps_per_epoch(self) -> int:
        return min(len(self.train_loader), len(self.arch_loader))

    @property
    def parts(self) -> list[SearchPart]:
        """What the search is composed of beside its mutator, in a fixed order."""
        perturbation = [] if self.perturbation is None else [self.perturbation]
        return [self.schedule, *self.terms, *perturbation]

    @property
    def arch_steps(self) -> int:
        """Steps of the logits in the whole search."""
        due = self.schedule.is_due
        steps = range(self.steps_per_epoch)
        return sum(due(epoch, step) for epoch in range(self.num_epochs) for step in steps)

    def start_epoch(self, epoch: int) -> None:
        self.mutator.plan(self.arch_steps)
        super().start_epoch(epoch)
        for part in self.parts:
            part.start_epoch(self.progress(epoch))

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
            return self.gradients(valid_batch, self.alphas, terms=self.terms)[0]
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
            lambda wrt: self.gradients(valid_batch, wrt, terms=self.terms)[0],
            product,
        )

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "second order": self.unrolled and self.hessian}

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "arch_optimizer": self.arch_optimizer.state_dict(),
            "parts": [part.state_dict() for part in self.parts],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if len(state["parts"]) != len(self.parts):
            raise CheckpointError(
                f"The search was saved with {len(state['parts'])} parts and has {len(self.parts)} "
                "now. Resume with the perturbation and regularizers that it was started with."
            )
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self.arch_optimizer.load_state_dict(state["arch_optimizer"])
        super().load_state_dict(state)

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


def _check_separate(
    arch_optimizer: Optimizer, weights: Sequence[nn.Parameter], alphas: Sequence[nn.Parameter]
) -> None:
    stepped = {id(p) for group in arch_optimizer.param_groups for p in group["params"]}
    if stepped & {id(w) for w in weights}:
        raise OptionError(
            "The architecture optimizer holds a network weight. "
            "Make it of mutator.parameters() only."
        )
    if not {id(a) for a in alphas} <= stepped:
        raise OptionError(
            "The architecture optimizer does not hold the mutator's logits, so they would never "
            "move. Make it of mutator.parameters(), of the very mutator that is passed."
        )
