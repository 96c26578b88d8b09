"""DARTS-PT: what a supernet misses most is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import torch

from nas_plugin.choice.decision import Decision
from nas_plugin.errors import OptionError
from nas_plugin.mutators import Mutator
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Scalar, Value
from nas_plugin.trainers.bilevel import BilevelTrainer
from nas_plugin.trainers.search_trainer import SearchTrainer
from nas_plugin.trainers.selections.selection import APART, Ranking, Selection, selections


@selections.register("perturbation")
class PerturbationSelection(Selection):
    """Decides choice by choice, by how much worse the supernet is without a candidate.

    In random order, each layer choice keeps the candidate whose removal lowers the accuracy most:
    its coefficient is 0, the others are as they were. Then, in random order, each choice of m
    inputs loses the input whose removal lowers it least, until m are left. Between two decisions
    weights and logits train on; what was decided runs alone. Choices of any number of inputs and
    depths go by strength.

    The trainer's weights and logits are those after the last decision; a selection that is
    interrupted begins anew from the finished search, and finds the same.

    Args:
        epochs: Epochs of training between two decisions; 0 trains nothing.
        rate: Learning rate of the weights there, as a part of the search's; it falls to 0 by a
            cosine, and the optimizer begins without momentum.
        monitor: The metric that ranks; of equal values the lower loss is better.
        seed: Seed of the order; that of the search if None.

    Raises:
        OptionError: If an argument is not allowed.

    References:
        Wang et al. 2021, https://arxiv.org/abs/2108.04392
    """

    def __init__(
        self,
        *,
        epochs: int = 5,
        rate: float = 0.1,
        monitor: str = "accuracy",
        seed: int | None = None,
    ) -> None:
        if epochs < 0 or not rate > 0:
            raise OptionError(
                f"epochs must not be negative and rate be positive, got {epochs} and {rate}."
            )
        self.epochs, self.rate, self.monitor, self.seed = epochs, rate, monitor, seed

    def __call__(self, trainer: SearchTrainer) -> Architecture:
        ranking = Ranking(trainer, self.monitor, type(self).__name__)
        bilevel = ranking.trainer
        space = trainer.mutator.space
        rng = Random((trainer.seed if self.seed is None else self.seed) + APART)
        layers = [k for k, c in space.items() if c.kind == "layer" and len(c.options) > 1]
        inputs = [
            k for k, c in space.items()
            if c.kind == "input" and c.n_chosen is not None and c.n_chosen < len(c.options)
        ]  # fmt: skip
        rng.shuffle(layers)
        rng.shuffle(inputs)
        chosen: dict[str, Value] = {}
        tuning = _Tuning(bilevel, self.epochs, self.rate, len(layers) + len(inputs) - 1)
        with revised(trainer.mutator, chosen):
            for number, key in enumerate([*layers, *inputs]):
                if number:
                    tuning(alphas=any(layer not in chosen for layer in layers))
                if space[key].kind == "layer":
                    chosen[key] = self._missed_most(ranking, key, chosen)
                else:
                    self._lose_inputs(ranking, key, chosen)
                trainer.record("selection", {"key": key, "chosen": chosen[key]})
        by_strength: Architecture = trainer.mutator.export()
        spelled = {**_complete(trainer.mutator, by_strength), **chosen}
        return space.architecture(
            {k: list(v) if isinstance(v, tuple) else v for k, v in spelled.items()}
        )

    def _missed_most(self, ranking: Ranking, key: str, chosen: Mapping[str, Value]) -> Scalar:
        """Returns the candidate whose removal is worst; of equal ones the first."""
        choice = ranking.trainer.mutator.space[key]
        without: dict[Scalar, tuple[float, float]] = {}
        for candidate in choice.options:
            with revised(ranking.trainer.mutator, chosen, removed=(key, candidate)):
                without[candidate] = ranking.drawn()
        return min(without, key=lambda candidate: without[candidate])

    def _lose_inputs(self, ranking: Ranking, key: str, chosen: dict[str, Value]) -> None:
        """Takes the least missed inputs off a choice, one by one, until m are left."""
        choice = ranking.trainer.mutator.space[key]
        left = list(choice.options)
        while len(left) > (choice.n_chosen or 1):
            without: dict[Scalar, tuple[float, float]] = {}
            for candidate in left:
                chosen[key] = tuple(c for c in left if c != candidate)
                without[candidate] = ranking.drawn()
            left.remove(max(without, key=lambda candidate: without[candidate]))
            chosen[key] = tuple(left)


@contextmanager
def revised(
    mutator: Mutator, chosen: Mapping[str, Value], removed: tuple[str, Scalar] | None = None
) -> Iterator[None]:
    """Lets what was chosen run alone, and a removed candidate count nothing.

    Args:
        mutator: Its own state stays as it is.
        chosen: Key → candidate, or candidates of an input choice.
        removed: Key and candidate.
    """
    space = mutator.space

    def revise(decisions: dict[str, Decision]) -> dict[str, Decision]:
        found = dict(decisions)
        for key, value in chosen.items():
            names = value if isinstance(value, tuple) else (value,)
            active = tuple(sorted(space[key].candidates.index(name) for name in names))
            found[key] = _alone(decisions[key], active, is_layer=space[key].kind == "layer")
        if removed is not None:
            index = space[removed[0]].candidates.index(removed[1])
            found[removed[0]] = _without(found[removed[0]], index)
        return found

    before = mutator.revise
    mutator.revise = revise
    try:
        yield
    finally:
        mutator.revise = before


def _alone(decision: Decision, active: tuple[int, ...], *, is_layer: bool) -> Decision:
    """Returns a decision under which the chosen run: a layer by 1, inputs as they were mixed."""
    if decision.mix is None:
        return replace(decision, active=active, watched=(), offset=None)
    mix = torch.zeros_like(decision.mix)
    index = list(active)
    mix[index] = 1.0 if is_layer else decision.mix[index]
    return Decision(mix, active)


def _without(decision: Decision, index: int) -> Decision:
    """Returns a decision under which a candidate counts nothing."""
    left = tuple(i for i in decision.active if i != index)
    if decision.mix is None:
        return replace(decision, active=left or decision.active)
    mask = torch.ones_like(decision.mix)
    mask[index] = 0.0
    watched = tuple(i for i in decision.watched if i != index)
    return replace(
        decision, mix=decision.mix * mask, active=left or decision.active, watched=watched
    )


def _complete(mutator: Mutator, architecture: Architecture) -> dict[str, Value]:
    """Returns a value for every key, those that the architecture leaves out by any option."""
    space = mutator.space
    found: dict[str, Value] = {}
    for key, choice in space.items():
        some: Value = choice.options[0]
        if choice.kind == "input":
            some = choice.options[: choice.n_chosen or len(choice.options)]
        found[key] = architecture.get(key, some)
    return found


class _Tuning:
    """Trains on between decisions.

    Args:
        trainer: The trainer of the search.
        epochs: At a time; 0 trains nothing.
        rate: Part of the search's learning rate at which it begins.
        times: How often it will be called.
    """

    def __init__(self, trainer: BilevelTrainer, epochs: int, rate: float, times: int) -> None:
        self.trainer, self.epochs, self.total = trainer, epochs, max(1, epochs * times)
        self.done = 0
        groups = trainer.optimizer.param_groups
        self.rates = [rate * float(group.get("initial_lr", group["lr"])) for group in groups]
        if epochs:
            trainer.optimizer.state.clear()

    def __call__(self, *, alphas: bool) -> None:
        trainer = self.trainer
        trainer.model.train()
        for _ in range(self.epochs):
            factor = 0.5 * (1 + math.cos(math.pi * self.done / self.total))
            for group, rate in zip(trainer.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = factor * rate
            for number, batch in enumerate(trainer.batches(trainer.epoch + self.done, 0)):
                # Logits of which all are decided have no gradient.
                if alphas and trainer.schedule.is_due(trainer.epoch, number):
                    trainer.arch_step(*batch)
                trainer.weight_step(batch[0])
            self.done += 1
