"""Regularizers that combine with any mutator: expected costs and auxiliary skips, by name.

What is a function of a mutator's own parametrisation, as the anchor of DrNAS's concentrations or
the zero-one loss of FairDARTS's sigmoids, is that mutator's `penalty` and has no name here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from nas_plugin.choice.decision import Decision
from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.mutators import Mutator
from nas_plugin.operations import add_auxiliary_skips
from nas_plugin.parameters import check_names
from nas_plugin.profiling import flops_table, latency_table, params_table
from nas_plugin.registry import Registry
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.cost_table import CostTable
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.trainers.parts import Regularizer, Search

regularizers: Registry[type[Regularizer]] = Registry(
    "regularizer",
    package="nas_plugin.trainers.regularizers",
    group="nas_plugin.regularizers",
)


class OfTable(Regularizer):
    """A regularizer of the cost of the mix: ``fixed + sum_keys P(key matters) sum_k mix_k cost_k``.

    With soft mixes it is the expectation, with hard ones the cost of the draw, whose gradient is
    the straight-through estimate. An edge behind an input choice counts with the coefficient of
    that input; where the choice has none of its own and keeps m of n edges, with m / n.

    Args:
        table: Cost of every candidate: parameters, FLOPs, latency, or anything that adds up.

    Raises:
        SpaceError: If the table does not fit the search space.
    """

    #: Makes the table of a supernet and an input, where the class is known by name.
    counts: ClassVar[Callable[..., CostTable] | None] = None

    def __init__(self, table: CostTable) -> None:
        self.table = table

    @classmethod
    def made_for(cls, model: nn.Module, sample: Tensor, **options: Any) -> Self:
        check_names(cls, options)
        if "table" not in options and cls.counts is not None:
            options["table"] = cls.counts(model, sample)
        return cls(**options)

    def join(self, search: Search) -> None:
        self.table.check(search.mutator.space)

    def expected(self, space: SearchSpace, decisions: Mapping[str, Decision]) -> Tensor:
        """Returns the cost of a mix of architectures, in the table's unit."""
        shares: dict[str, Tensor | float] = {}
        total = torch.tensor(self.table.fixed)
        for key, costs in self.table.costs.items():
            choice, decision = space[key], decisions[key]
            of_each = [costs[str(candidate)] for candidate in choice.candidates]
            if not any(of_each):
                continue
            if decision.mix is None:
                cost: Tensor | float = sum(of_each[i] for i in decision.active)
            else:
                cost = decision.mix @ decision.mix.new_tensor(of_each)
            total = total + _share(choice, space, decisions, shares) * cost
        return total


class ExpectedCost(OfTable):
    """Adds the cost of the mix to the loss, as `OfTable` computes it.

    With `weight` alone the term is ``weight * cost``, with a target
    ``weight * max(0, cost / target - 1)``. A controller that samples architectures gets the term
    of its architecture taken off its reward.

    Args:
        table: Cost of every candidate: parameters, FLOPs, latency, or anything that adds up.
        weight: Factor; 1 by default where there is a target.
        target: What costs nothing more to stay below, in the table's unit.

    Raises:
        OptionError: If neither a weight nor a target is given, or one is not positive.
        SpaceError: If the table does not fit the search space.
    """

    def __init__(
        self, table: CostTable, *, weight: float | None = None, target: float | None = None
    ) -> None:
        super().__init__(table)
        if weight is None and target is None:
            raise OptionError(
                f"A cost in {table.unit} needs a weight (per {table.unit}) or a target."
            )
        for name, value in (("weight", weight), ("target", target)):
            if value is not None and not value > 0:
                raise OptionError(f"The {name} of a cost must be positive, got {value}.")
        self.target = target
        self.weight = 1.0 if weight is None else weight

    def __call__(self, mutator: Mutator) -> Tensor:
        return self.term(self.expected(mutator.space, mutator.binding.decisions))

    def term(self, cost: Tensor) -> Tensor:
        """Returns the term of a cost."""
        return self.weight * (cost if self.target is None else (cost / self.target - 1).relu())

    def of(self, architecture: Mapping[str, Value]) -> float:
        """Returns the term of one architecture."""
        return float(self.term(torch.tensor(self.table(architecture), dtype=torch.float64)))


@regularizers.register("flops")
class FlopsCost(ExpectedCost):
    """Expected FLOPs, two per multiply-add; arguments as those of `ExpectedCost`."""

    counts = staticmethod(flops_table)


@regularizers.register("latency")
class LatencyCost(ExpectedCost):
    """Expected latency in milliseconds, measured here; arguments as those of `ExpectedCost`."""

    counts = staticmethod(latency_table)


@regularizers.register("params")
class ParamsCost(ExpectedCost):
    """Expected parameters; arguments as those of `ExpectedCost`."""

    counts = staticmethod(params_table)


class CostFactor(OfTable):
    """FBNet's form: multiplies the loss by ``scale * log(cost)^power``.

    Args:
        table: Cost of every candidate, in a unit in which every architecture costs more than 1.
        scale: alpha.
        power: beta.

    Raises:
        OptionError: If an argument is not positive, or costs may be 1 or less.
        SpaceError: If the table does not fit the search space.

    References:
        Wu et al. 2019, equation 3, https://arxiv.org/abs/1812.03443
    """

    def __init__(self, table: CostTable, *, scale: float = 0.2, power: float = 0.6) -> None:
        super().__init__(table)
        if min(scale, power) <= 0:
            raise OptionError(f"scale and power must be positive, got {scale} and {power}.")
        self.scale, self.power = scale, power

    def join(self, search: Search) -> None:
        super().join(search)
        space = search.mutator.space
        always = [costs for key, costs in self.table.costs.items() if not space[key].active_if]
        least = self.table.fixed + sum(min(costs.values(), default=0.0) for costs in always)
        if least <= 1:
            raise OptionError(
                f"An architecture may cost {least:g} {self.table.unit}, and the loss is multiplied "
                "by a power of the cost's logarithm, which must be positive. Give costs in a "
                "smaller unit, such as microseconds, or use ExpectedCost, which adds them."
            )

    def __call__(self, mutator: Mutator) -> None:
        return None

    def factor(self, mutator: Mutator) -> Tensor:
        cost = self.expected(mutator.space, mutator.binding.decisions)
        return self.scale * cost.log() ** self.power


@regularizers.register("flops_factor")
class FlopsFactor(CostFactor):
    """FBNet's form with FLOPs; arguments as those of `CostFactor`."""

    counts = staticmethod(flops_table)


@regularizers.register("latency_factor")
class LatencyFactor(CostFactor):
    """FBNet's form with microseconds, measured here; arguments as those of `CostFactor`."""

    @staticmethod
    def counts(model: nn.Module, sample: Tensor) -> CostTable:
        """Returns the table of latencies in microseconds."""
        return in_microseconds(latency_table(model, sample))


@regularizers.register("auxiliary_skip")
class AuxiliarySkip(Regularizer):
    """DARTS-: scales the auxiliary skips of `add_auxiliary_skips` from 1 to 0 over the search.

    It adds nothing to the loss: what it takes off skip connections is their advantage of making
    training easy, which the auxiliary skip gives to all candidates while it is there.

    Args:
        start: Scale in the first epoch.
        end: Scale in the last epoch, reached linearly.

    Raises:
        OptionError: If a scale is negative, or the model has no auxiliary skip.

    References:
        Chu et al. 2021, https://arxiv.org/abs/2009.01027
    """

    def __init__(self, *, start: float = 1.0, end: float = 0.0) -> None:
        if min(start, end) < 0:
            raise OptionError(f"The scale of a skip must not be negative, got {start} and {end}.")
        self.start, self.end = start, end
        self.blocks: list[LayerChoice] = []

    @classmethod
    def prepare(cls, model: nn.Module, sample: Tensor) -> None:
        add_auxiliary_skips(model, sample)

    def join(self, search: Search) -> None:
        blocks = [place.block for place in keyed_blocks(search.model)]
        self.blocks = [b for b in blocks if isinstance(b, LayerChoice) and b.auxiliary is not None]
        if not self.blocks:
            raise OptionError(
                "AuxiliarySkip scales auxiliary skip connections, and the model has none. Call "
                "add_auxiliary_skips(model, x) before the optimizer is made."
            )
        self.start_epoch(0.0)

    def start_epoch(self, progress: float) -> None:
        for block in self.blocks:
            block.auxiliary_scale = self.start + progress * (self.end - self.start)

    def __call__(self, mutator: Mutator) -> None:
        return None


def in_microseconds(table: CostTable) -> CostTable:
    """Returns a table of milliseconds in microseconds."""
    costs = {
        key: {name: 1e3 * cost for name, cost in candidates.items()}
        for key, candidates in table.costs.items()
    }
    return CostTable("us", costs, fixed=1e3 * table.fixed, about=table.about)


def named_regularizer(text: str) -> tuple[type[Regularizer], dict[str, Any]]:
    """Reads ``name`` or ``name:option=value,option=value``; values are JSON or else text.

    Raises:
        OptionError: If the text has another form, or an option is unknown.
        UnknownNameError: If there is no such regularizer.
    """
    name, _, rest = text.partition(":")
    found = regularizers.get(name)
    options: dict[str, Any] = {}
    # Commas inside a list belong to its value.
    for part in re.split(r",(?![^\[]*\])", rest) if rest else ():
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise OptionError(f"'{text}': expected option=value, found '{part}'.")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    check_names(found, options)
    return found, options


def _share(
    choice: Choice,
    space: SearchSpace,
    decisions: Mapping[str, Decision],
    known: dict[str, Tensor | float],
) -> Tensor | float:
    """Returns how much of a choice is met: the sum over its alternatives, 1 at most."""
    if not choice.active_if:
        return 1.0
    if choice.key not in known:
        total: Tensor | float = 0.0
        for alternative in choice.active_if:
            product: Tensor | float = 1.0
            for key, values in alternative:
                parent = space[key]
                indices = [parent.candidates.index(value) for value in values]
                product = product * _share(parent, space, decisions, known)
                product = product * _chosen(parent, decisions[key], indices, space)
            total = total + product
        known[choice.key] = total.clamp(max=1.0) if isinstance(total, Tensor) else min(1.0, total)
    return known[choice.key]


def _chosen(
    choice: Choice, decision: Decision, indices: list[int], space: SearchSpace
) -> Tensor | float:
    """Returns how much of a choice is at some of its candidates."""
    several = (choice.n_chosen or 1) if space.follows_edges(choice) else 1
    if decision.mix is not None:
        return (several * decision.mix[indices].sum()).clamp(max=1.0)
    if space.follows_edges(choice) and len(decision.active) == len(choice.candidates):
        # All edges run, and the choice has no coefficients that would tell one from another.
        return min(1.0, several * len(indices) / len(choice.candidates))
    return float(any(i in decision.active for i in indices))
