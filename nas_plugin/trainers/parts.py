"""The parts that a search is composed of beside its mutator; each touches only its own seam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import Self

from nas_plugin.choice.decision import Decision
from nas_plugin.mutators import Mutator
from nas_plugin.parameters import check_names
from nas_plugin.runtime import Ranks

Decisions = Mapping[str, Decision]


@dataclass(frozen=True)
class Search:
    """What a part may know of the search that it joins.

    Args:
        model: The supernet.
        mutator: What decides it.
        ranks: The processes that search together.
        seed: Seed of the search.
    """

    model: nn.Module
    mutator: Mutator
    ranks: Ranks
    seed: int


class SearchPart:
    """A part of a search that follows its progress and is saved in its checkpoints."""

    def join(self, search: Search) -> None:
        """Is called once, when the search is made.

        Raises:
            OptionError: If the part cannot be combined with this model or mutator.
        """

    def start_epoch(self, progress: float) -> None:
        """Adapts schedules.

        Args:
            progress: Finished part of the search, in [0, 1]; 0 in the first epoch, 1 in the last.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that changes during a search, generators included."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""


class Perturbation(SearchPart):
    """Changes the mix in the step of the weights; the logits never see it."""

    #: Whether the losses that it asks for are those of the model in evaluation mode.
    evaluates: ClassVar[bool] = False

    def __call__(self, decisions: Decisions, loss: Callable[[Decisions], Tensor]) -> Decisions:
        """Returns the decisions that the step of the weights runs under.

        Args:
            decisions: What the mutator decided; no coefficient carries a gradient.
            loss: The training loss of the very batch under other decisions. Weights are constants
                in it and batch statistics stay; coefficients that require a gradient get one.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it perturbs the mix")


class Regularizer(SearchPart):
    """A term of the logits' loss, such as an expected cost, or a factor of it.

    One that is known by name is made by `made_for`, after `prepare` was called.
    """

    @classmethod
    def prepare(cls, model: nn.Module, sample: Tensor) -> None:
        """Changes a supernet before its optimizer is made.

        Args:
            model: That no mutator decides.
            sample: What it takes, ``(1, C, H, W)`` for images.
        """

    @classmethod
    def made_for(cls, model: nn.Module, sample: Tensor, **options: Any) -> Self:
        """Returns the part for a supernet that was prepared.

        Args:
            model: That no mutator decides.
            sample: What it takes, ``(1, C, H, W)`` for images.
            **options: As the class takes them.

        Raises:
            OptionError: If an option is unknown or not allowed.
        """
        check_names(cls, options)
        return cls(**options)

    def __call__(self, mutator: Mutator) -> Tensor | None:
        """Returns the term for the decisions that `mutator.binding` holds, or None."""
        raise NotImplementedError(f"{type(self).__name__} must say what it adds to the loss")

    def factor(self, mutator: Mutator) -> Tensor | None:
        """Returns what the loss is multiplied by, before terms are added; None leaves it."""
        return None


class ArchSchedule(SearchPart):
    """Says which steps train the logits.

    Args:
        warmup_epochs: Epochs that train the weights only.
        every: Steps of the weights to one step of the logits.
    """

    def __init__(self, warmup_epochs: int = 0, every: int = 1) -> None:
        self.warmup_epochs, self.every = warmup_epochs, every

    def is_due(self, epoch: int, batch: int) -> bool:
        """Says whether step `batch` of `epoch` trains the logits."""
        return epoch >= self.warmup_epochs and batch % self.every == 0


class MutatorPenalty(Regularizer):
    """The term that a mutator itself asks for."""

    def __call__(self, mutator: Mutator) -> Tensor | None:
        return mutator.penalty(mutator.binding.decisions)
