"""CDARTS: a search and an evaluation network that teach each other in a cycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from typing_extensions import Unpack

from nas_plugin.choice.keys import keyed_blocks, unwrap
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.mutators._differentiable import DifferentiableMutator
from nas_plugin.operations.conv import DilConv
from nas_plugin.runtime import Layout, fuse
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.decide import decisions_of
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.gradients import gradients_of, summed
from nas_plugin.trainers.metrics import Metrics, accuracy
from nas_plugin.trainers.objective import Loss, Objective, Values, add_share
from nas_plugin.trainers.options import BilevelOptions, ModelLike, made_model
from nas_plugin.trainers.search_trainer import MutatorLike

INTERACTIONS = ("kl", "smoothl1")
_REFUSED = (
    "unrolled", "schedule", "arch_optimizer", "arch_learning_rate", "arch_weight_decay",
    "perturbation",
)  # fmt: skip


class CdartsTrainer(BilevelTrainer):
    """Searches with a small network, by what a large one learns from the architecture so far.

    The first `warmup_epochs` train the small network's weights. Every later epoch derives the
    architecture, trains the large network under it for an epoch, and then takes joint steps:

    1. on a batch of the logits' half, the large network's weights and the logits descend
       ``(CE_small + CE_large) / loss_alpha + loss_alpha loss_T^2 interaction + regularisation``;
    2. on a batch of the weights' half, the small network's weights descend ``CE_small``.

    The interaction is the mean, over samples and classes, of the terms of
    ``KL(softmax(t / T) || softmax(s / T))`` between what the networks give as second output while
    they train; a network with one output is compared by that. The teacher is not detached. The
    regularisation is ``c sum |alpha|`` over identities, pooling without batch norm and dilated
    convolutions, with c falling from `regular_coeff` to 0 over `regular_ratio` of the joint epochs.

    Args:
        model_small: The supernet that is searched, or a function that makes it.
        model_large: The evaluation network, of the same keys; it may share modules with the other.
        criterion: ``(output, target) -> scalar``.
        loaders: A data set that is split in halves, or the pair (for weights, for logits).
        dataset_valid: What both networks are measured on; None: the logits' half.
        metrics: ``(output, target) -> {name: number}``.
        num_epochs: Epochs in all.
        regular_coeff: Factor of the regularisation at first.
        regular_ratio: Part of the joint epochs after which it is 0.
        warmup_epochs: Epochs that train the small network alone.
        fix_head: Leave the weights of modules called ``aux_head`` as they are.
        loss_alpha: Divides the losses, and multiplies the interaction.
        loss_T: Temperature of the interaction.
        interactive_type: ``kl`` or ``smoothl1``.
        w_lr: Learning rate of the small network's weights.
        w_momentum: Momentum of both.
        w_weight_decay: Weight decay of both.
        nasnet_lr: Learning rate of the large network's weights.
        alpha_lr: Learning rate of the logits.
        alpha_weight_decay: Weight decay of the logits.
        mutator: Another differentiable mutator in place of ``darts``.
        **options: As `BilevelTrainer` takes them.

    Attributes:
        derived: The architecture of the large network in this epoch; None in the first ones.

    Raises:
        OptionError: If an argument is not allowed, or the networks' search spaces differ.

    References:
        Yu & Peng 2020, https://arxiv.org/abs/2006.10724
    """

    def __init__(
        self,
        model_small: ModelLike,
        model_large: ModelLike,
        criterion: Loss,
        loaders: Any,
        *,
        dataset_valid: Any = None,
        metrics: Metrics = accuracy,
        num_epochs: int = 32,
        regular_coeff: float = 5.0,
        regular_ratio: float = 0.2,
        fix_head: bool = True,
        loss_alpha: float = 2.0,
        loss_T: float = 2.0,  # noqa: N803
        interactive_type: Literal["kl", "smoothl1"] = "kl",
        w_lr: float = 0.2,
        w_momentum: float = 0.9,
        w_weight_decay: float = 3e-4,
        nasnet_lr: float = 0.2,
        alpha_lr: float = 0.2,
        alpha_weight_decay: float = 1e-4,
        mutator: MutatorLike = "darts",
        **options: Unpack[BilevelOptions],
    ) -> None:
        if interactive_type not in INTERACTIONS:
            raise OptionError(
                f"interactive_type must be one of {', '.join(INTERACTIONS)}, got "
                f"{interactive_type!r}."
            )
        if min(loss_alpha, loss_T, regular_ratio) <= 0 or regular_coeff < 0:
            raise OptionError(
                "loss_alpha, loss_T and regular_ratio must be positive and regular_coeff not "
                f"negative, got {loss_alpha}, {loss_T}, {regular_ratio} and {regular_coeff}."
            )
        refused = [name for name in _REFUSED if options.get(name) is not None]
        if refused:
            raise OptionError(
                f"CDARTS defines its own steps, so {', '.join(refused)} has no place. The logits' "
                "optimizer follows from alpha_lr and alpha_weight_decay."
            )
        options["arch_learning_rate"], options["arch_weight_decay"] = alpha_lr, alpha_weight_decay
        for name, value in (("grad_clip", 5.0), ("warmup_epochs", 2)):
            options.setdefault(name, value)  # type: ignore[misc]
        small, large = made_model(model_small), unwrap(made_model(model_large))
        if fix_head:
            for model in (small, large):
                for name, param in model.named_parameters():
                    if "aux_head" in name.split("."):
                        param.requires_grad_(False)
        pair = isinstance(loaders, (tuple, list)) and len(loaders) == 2
        if dataset_valid is None and not pair:
            raise OptionError("Give dataset_valid, or a pair of loaders (for weights, for logits).")
        super().__init__(
            small, criterion, metrics, SGD(small.parameters(), w_lr, w_momentum,
                                           weight_decay=w_weight_decay),
            num_epochs, loaders, loaders[1] if dataset_valid is None else dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip
        self.model_large = large.to(self.device)
        self.optimizer_large = SGD(
            large.parameters(), nasnet_lr, w_momentum, weight_decay=w_weight_decay
        )
        fuse(self.optimizer_large)
        self.weights_large = list(large.parameters())
        self.mutator.bind(large, final=True)
        self.layout_large = Layout(options.get("channels_last"))
        self.objective_large = Objective(
            large, criterion, metrics, self.precision, self.layout_large,
            valid_loss=options.get("valid_loss"),
        )  # fmt: skip
        # A second output is for the interaction alone; it is no term of a network's own loss.
        self.objective.aux_weight = self.objective_large.aux_weight = 0.0
        self.regular_coeff, self.regular_ratio = regular_coeff, regular_ratio
        self.loss_alpha, self.temperature = loss_alpha, loss_T
        self.interactive_type = interactive_type
        self.warmup = self.schedule.warmup_epochs
        self.regularised = _regularised(self.mutator, small)
        self.derived: Architecture | None = None
        self.ranks.start_alike(large)

    # An epoch: all of it for one network, then, after the first ones, joint steps.

    @property
    def steps_per_epoch(self) -> int:
        steps = super().steps_per_epoch
        return steps if self.epoch < self.warmup else 2 * steps

    @property
    def arch_steps(self) -> int:
        """Steps of the logits in the whole search."""
        return super().steps_per_epoch * (self.num_epochs - self.warmup)

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        steps = super().steps_per_epoch
        # In an order of its own, as the joint steps of the epoch go through the half once more.
        single = epoch if epoch < self.warmup else epoch + self.num_epochs
        for number, batch in enumerate(self.train_loader.batches(single, min(start, steps)), start):
            if number >= steps:
                break
            yield batch, None
        if epoch >= self.warmup:
            yield from super().batches(epoch, max(0, start - steps))

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self.model_large.train()
        if epoch >= self.warmup and self.batch == 0:
            self.derived = self.mutator.export()

    def train_step(self, batch: tuple[Batch, Batch | None]) -> Values:
        train_batch, valid_batch = batch
        if self.epoch < self.warmup:
            return self.weight_step(train_batch)
        if valid_batch is None:
            return self.large_step(train_batch)
        values = self.joint_step(valid_batch)
        return {**values, **self.weight_step(train_batch)}

    def large_step(self, batch: Batch) -> Values:
        """Steps the large network on one batch under the derived architecture."""
        totals: list[Tensor | None] = [None] * len(self.weights_large)
        values: Values = {}
        for part, share in self.gradients.parts(batch, needs_alphas=False):
            self._decide_large()
            loss, found = self.objective_large(part)
            grads = gradients_of(self.precision.scale(loss * share), self.weights_large)
            totals = summed(totals, grads)
            add_share(values, found, share)
        self._step_large(self.gradients.averaged(totals))
        return values

    def joint_step(self, batch: Batch) -> Values:
        """Steps the large network and the logits on one batch; returns the terms of the loss."""
        grads, values = self.joint_gradient(batch)
        n = len(self.alphas)
        self._step_large(grads[n:])
        self.gradients.step(self.arch_optimizer, self.alphas, grads[:n])
        self.mutator.after_arch_step()
        return values

    def joint_gradient(self, batch: Batch) -> tuple[list[Tensor | None], Values]:
        """Returns the gradient of the joint loss at the logits and the large network's weights."""
        wrt = [*self.alphas, *self.weights_large]
        totals: list[Tensor | None] = [None] * len(wrt)
        values: Values = {}
        for part, share in self.gradients.parts(batch, needs_alphas=True):
            self._decide_large()
            terms = self.joint_terms(part)
            loss = torch.stack(list(terms.values())).sum()
            for term in self.terms:
                added = term(self.mutator)
                loss = loss if added is None else loss + added
            totals = summed(totals, gradients_of(self.precision.scale(loss * share), wrt))
            add_share(values, terms, share)
        return self.gradients.averaged(totals), values

    def joint_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the terms of the joint loss, by name."""
        inputs, targets = batch
        with self.precision.autocast():
            small, second_small = _pair(self.objective.forward(inputs))
            large, second_large = _pair(self.objective_large.forward(inputs))
            losses = self.objective.loss(small, targets) + self.objective.loss(large, targets)
            interaction = self.interaction(second_small, second_large)
        factor = self.temperature**2 * self.loss_alpha
        terms = {"loss_cls": losses / self.loss_alpha, "loss_interactive": factor * interaction}
        if self.regularised and self.regular_factor > 0:
            terms["loss_regular"] = self.regular_factor * self.regularisation()
        return terms

    def interaction(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Returns how far the networks' second outputs are apart."""
        if self.interactive_type == "smoothl1":
            return F.smooth_l1_loss(student, teacher)
        log_q = (student / self.temperature).log_softmax(dim=1)
        log_p = (teacher / self.temperature).log_softmax(dim=1)
        return (log_p.exp() * (log_p - log_q)).mean()

    @property
    def regular_factor(self) -> float:
        """The factor of the regularisation in this epoch."""
        joint = (self.num_epochs - self.warmup) * self.regular_ratio
        return max(self.regular_coeff * (1 - (self.epoch - self.warmup) / joint), 0.0)

    def regularisation(self) -> Tensor:
        """Returns the sum of the sizes of the logits that are held down."""
        rows, columns = zip(*self.regularised, strict=True)
        (alphas,) = self.alphas[:1]
        return alphas[list(rows), list(columns)].abs().sum()

    def end_epoch(self) -> None:
        super().end_epoch()
        if self.derived is not None:
            self._decide_large()
            found = self.objective_large.measured(self.valid_loader)
            self.record("evaluation_network", {f"valid_{k}": v for k, v in found.items()})

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "model_large": self.model_large.state_dict(),
            "optimizer_large": self.optimizer_large.state_dict(),
            "layout_large": self.layout_large.state_dict(),
            "derived": None if self.derived is None else self.derived.to_json(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model_large.load_state_dict(state["model_large"])
        self.optimizer_large.load_state_dict(state["optimizer_large"])
        self.layout_large.load_state_dict(self.model_large, state["layout_large"])
        derived = state["derived"]
        self.derived = None if derived is None else self.mutator.space.architecture(derived)
        super().load_state_dict(state)

    def _decide_large(self) -> None:
        """Lets the large network run the architecture of the epoch, whatever the logits say now."""
        if self.derived is not None:
            binding = self.mutator.final_binding
            binding.decisions = decisions_of(self.mutator.space, self.derived)

    def _step_large(self, grads: list[Tensor | None]) -> None:
        self.gradients.step(self.optimizer_large, self.weights_large, grads, self.grad_clip)
        if self.ranks.world_size > 1:
            self.ranks.copy_from_first(list(self.model_large.buffers()))


def _pair(output: Any) -> tuple[Tensor, Tensor]:
    """Returns both outputs of a network; one that has a single output gives it twice."""
    first, second = output if isinstance(output, tuple) else (output, output)
    return first, second


def _regularised(mutator: Any, model: nn.Module) -> list[tuple[int, int]]:
    """Returns the places, in the table of logits, of the candidates that are held down."""
    if not isinstance(mutator, DifferentiableMutator):
        return []
    kinds = (nn.Identity, DilConv, nn.AvgPool2d, nn.MaxPool2d)
    found: set[tuple[int, int]] = set()
    for place in keyed_blocks(model):
        if isinstance(place.block, LayerChoice) and place.key in mutator.rows:
            row = mutator.rows.index(place.key)
            found.update((row, i) for i, m in enumerate(place.block) if isinstance(m, kinds))
    return sorted(found)
