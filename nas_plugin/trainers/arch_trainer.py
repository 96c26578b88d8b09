"""What trainers of logits share: the logits' optimizer, and the parts that a search is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn
from torch.optim import Adam, Optimizer
from typing_extensions import Unpack

from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.mutators import Mutator
from nas_plugin.mutators.mutator import MIXES
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss
from nas_plugin.trainers.options import ModelLike, OptimizerLike, SearchOptions
from nas_plugin.trainers.parts import (
    ArchSchedule,
    MutatorPenalty,
    Perturbation,
    Regularizer,
    Search,
    SearchPart,
)
from nas_plugin.trainers.perturbations import make_perturbation
from nas_plugin.trainers.search_trainer import MutatorLike, SearchTrainer, make_mutator


class ArchTrainer(SearchTrainer):
    """A trainer that steps logits by an optimizer of their own.

    Args:
        model: The supernet, or a function that makes it.
        loss: ``(output, target) -> scalar``.
        metrics: ``(output, target) -> {name: number}``.
        optimizer: Steps the weights; or a function from parameters to an optimizer.
        num_epochs: Epochs in all.
        dataset_train: What is trained on.
        dataset_valid: The held-out set, which nothing is trained on.
        mutator: Name, class, factory or instance.
        arch_optimizer: Optimizer of the logits; by default the mutator's own, else Adam with
            `arch_learning_rate`, `arch_betas` and `arch_weight_decay`.
        arch_learning_rate: Learning rate of the default optimizer; the method's if None.
        arch_weight_decay: Weight decay of the default optimizer; the method's if None.
        arch_betas: Betas of the default optimizer; the method's if None.
        warmup_epochs: Epochs that train the weights only; the method's share of them if None.
        regularizers: Terms of the logits' loss, beside the mutator's own penalty.
        schedule: Which steps train the logits; all after `warmup_epochs` if None.
        edge_normalisation: Give input choices that follow edges logits of their own.
        perturbation: Changes the mix in the steps of the weights: an instance or a name.
        **options: As `SearchTrainer` and `Trainer` take them.

    Raises:
        OptionError: If an argument is not allowed, parts cannot be combined, or the mutator has
            no logits.
    """

    needs = frozenset({MIXES})
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
        warmup_epochs: int | None = None,
        regularizers: Sequence[Regularizer] = (),
        schedule: ArchSchedule | None = None,
        edge_normalisation: bool = False,
        perturbation: Perturbation | str | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        if schedule is not None and warmup_epochs:
            raise OptionError("schedule says when the logits train, so warmup_epochs must be 0.")
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=_with_betas(mutator, options.get("seed", 0)) if edge_normalisation else mutator,
            **options,
        )  # fmt: skip
        if warmup_epochs is None:
            warmup_epochs = int(self.mutator.warm_up * num_epochs)
        if not 0 <= warmup_epochs < num_epochs:
            raise OptionError(
                f"warmup_epochs must be in [0, {num_epochs}), for the logits to be trained in "
                f"some of the {num_epochs} epochs; got {warmup_epochs}."
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
        self.perturbation = make_perturbation(perturbation)
        self.terms: list[Regularizer] = [MutatorPenalty(), *regularizers]
        for part in self.parts:
            part.join(Search(self.model, self.mutator, self.ranks, self.seed))

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

    @property
    def trains_logits(self) -> bool:
        """Whether the schedule trains the logits in the epoch that runs."""
        return self.schedule.is_due(self.epoch, 0)

    def start_epoch(self, epoch: int) -> None:
        self.mutator.plan(self.arch_steps)
        super().start_epoch(epoch)
        for part in self.parts:
            part.start_epoch(self.progress(epoch))

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


def _with_betas(mutator: MutatorLike, seed: int) -> MutatorLike:
    """Returns what makes the mutator with logits of edges."""

    def made(model: nn.Module) -> Mutator:
        found = make_mutator(mutator, model, seed)
        add_betas = getattr(found, "add_betas", None)
        if add_betas is None:
            raise OptionError(
                f"{type(found).__name__} mixes nothing, so edge normalisation cannot be combined "
                "with it. Use a differentiable mutator such as darts."
            )
        add_betas()
        if getattr(found, "betas", None) is None:
            raise OptionError(
                "Edge normalisation gives logits to input choices that follow edges, and this "
                f"space of {len(found.space)} choices has none. Leave it out, or search a space "
                "whose cells choose among edges, such as darts."
            )
        return found

    return made


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
