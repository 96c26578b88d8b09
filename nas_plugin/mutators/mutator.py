"""What every one-shot mutator does: own decisions, and say them before each forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas_plugin.choice.binding import Binding
from nas_plugin.choice.decision import Decision
from nas_plugin.errors import CheckpointError, OptionError
from nas_plugin.parameters import Spelled
from nas_plugin.registry import Registry
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.collect import search_space, value_choices
from nas_plugin.space.decide import decisions_of
from nas_plugin.space.search_space import SearchSpace

MixKind = Literal["none", "hard", "simplex", "independent"]

mutators: Registry[type[Mutator]] = Registry(
    "mutator", package="nas_plugin.mutators", group="nas_plugin.mutators"
)


#: What mutators give and trainers need.
MIXES, REPEATABLE, PATHS, POLICY = "mixes", "repeatable", "paths", "policy"
#: As errors and documents call it.
GIFTS: Mapping[str, str] = {
    MIXES: "mixes that carry a gradient to its logits",
    REPEATABLE: "the same mixes in all passes of a step",
    PATHS: "single paths",
    POLICY: "a policy that writes architectures with their log probabilities",
}


class Mutator(nn.Module, metaclass=Spelled):
    """Decides the choice blocks of a model.

    A subclass gives `sample_search` and `export`; its parameters are the logits. It never touches
    a candidate's output, an optimizer or a device.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the mutator's own generator.

    Attributes:
        space: The model's search space.
        generator: All randomness of the mutator; it lives on the CPU, so that every device and
            every rank draws the same.

    Raises:
        SpaceError: If the model has no choice block.
        OptionError: If the model has a ValueChoice, which cannot change after construction.
        ChoiceError: If another mutator decides the model.
    """

    name: ClassVar[str]
    #: What it gives, of `GIFTS`.
    gives: ClassVar[frozenset[str]] = frozenset()
    #: Whether most coefficients are zero, so that only the active candidates run.
    sparse: ClassVar[bool] = False
    #: The coefficients of a step of the weights: ``none`` (paths), ``hard`` (0 or 1), ``simplex``
    #: (they sum to what is chosen), ``independent`` (each in [0, 1]).
    mixes: ClassVar[MixKind] = "none"
    #: Share of the epochs that train the weights only, unless a trainer is told otherwise.
    warm_up: ClassVar[float] = 0.0
    #: Whether the candidates of a choice compete: their probabilities sum to 1.
    exclusive: ClassVar[bool] = True
    #: Settings of the logits' Adam that the method prescribes in place of a trainer's defaults.
    arch_settings: ClassVar[Mapping[str, Any]] = {}
    #: Paths whose gradients make up one step of the weights, where single paths are trained.
    paths_per_step: int = 1

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            mutators.add(name, cls)

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        super().__init__()
        values = value_choices(model)
        if values:
            raise OptionError(
                f"{type(self).__name__} cannot search the ValueChoice '{next(iter(values))}': a "
                "value is fixed when the model is built. Use a multi-trial strategy, or fix it "
                "with build(factory, architecture)."
            )
        self.space: SearchSpace = search_space(model)
        self.binding = Binding(type(self).__name__)
        self.final_binding = Binding(f"{type(self).__name__} (final)")
        self._has_final = False
        self.binding.attach(model)
        #: Changes what was decided before the blocks see it, as a selection does step by step.
        self.revise: Callable[[dict[str, Decision]], dict[str, Decision]] | None = None
        self.generator = torch.Generator().manual_seed(seed)

    def sample_search(self) -> dict[str, Decision]:
        """Returns this step's decision for every key."""
        raise NotImplementedError(f"{type(self).__name__} must say what it samples")

    def sample_final(self) -> dict[str, Decision]:
        """Returns the decisions of the exported architecture."""
        return decisions_of(self.space, self.export())

    def export(self) -> Architecture:
        """Returns the best architecture as far as it is known."""
        raise NotImplementedError(f"{type(self).__name__} must say what it exports")

    def status(self) -> dict[str, dict[str, float]]:
        """Returns, for every key that is decided by itself, candidate → probability."""
        raise NotImplementedError(f"{type(self).__name__} must say its probabilities")

    def reset(self) -> None:
        """Decides all blocks for the forward passes that follow.

        Under `torch.no_grad` the coefficients carry no gradient, as in a weight step.
        """
        decided = self.sample_search()
        self.binding.decisions = decided if self.revise is None else self.revise(decided)
        if self._has_final:
            self.final_binding.decisions = self.sample_final()

    def use(self, architecture: Mapping[str, Any]) -> None:
        """Runs one architecture inside the supernet until the next `reset`."""
        chosen = self.space.architecture(architecture)
        self.binding.decisions = decisions_of(self.space, chosen)

    def bind(self, model: nn.Module, final: bool = False) -> None:
        """Decides another model of the same keys too.

        Args:
            model: For example an averaged copy, or an evaluation network.
            final: Give it the exported architecture instead of the search's decisions.

        Raises:
            OptionError: If its search space is another one.
        """
        found = search_space(model)
        if found != self.space:
            raise OptionError(
                f"{type(self).__name__} cannot decide a model of another search space; it differs "
                f"at '{_first_difference(self.space, found)}'. Bind models that are made alike."
            )
        (self.final_binding if final else self.binding).attach(model)
        self._has_final = self._has_final or final

    def unbind(self, model: nn.Module) -> None:
        """Stops deciding `model`."""
        self.binding.detach(model)
        self.final_binding.detach(model)

    @classmethod
    def transform(cls, builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        """Returns the builder of the supernet that the method wants, given the space's own.

        Raises:
            SpaceError: If the space cannot be built that way.
        """
        return builder

    def start_epoch(self, progress: float) -> None:
        """Adapts schedules such as a temperature.

        Args:
            progress: Finished part of the search, in [0, 1]; 0 in the first epoch, 1 in the last.
        """

    def plan(self, arch_steps: int) -> None:
        """Is told how many steps the logits take in the whole search, before the first.

        Args:
            arch_steps: Depends on the settings of the search alone, so a resumed one tells the
                same.
        """

    def penalty(self, decisions: Mapping[str, Decision]) -> Tensor | None:
        """Returns a term of the architecture loss, or None."""
        return None

    def after_arch_step(self) -> None:
        """Called after the logits were stepped."""

    def arch_optimizer(self, params: list[nn.Parameter]) -> Optimizer | None:
        """Returns the optimizer that the method prescribes for its logits, or None."""
        return None

    def get_extra_state(self) -> dict[str, Any]:
        return {"space": self.space.to_json(), "generator": self.generator.get_state()}

    def set_extra_state(self, state: Any) -> None:
        found = SearchSpace.from_json(state["space"])
        if found != self.space:
            raise CheckpointError(
                f"The state of {type(self).__name__} belongs to another search space; it differs "
                f"at '{_first_difference(self.space, found)}'. Resume with the model that the "
                "state was saved for."
            )
        self.generator.set_state(state["generator"])


def _first_difference(space: SearchSpace, other: SearchSpace) -> str:
    """Returns the first key at which two spaces differ."""
    keys: list[str] = [*space, *other]
    return next(k for k in keys if k not in space or k not in other or space[k] != other[k])
