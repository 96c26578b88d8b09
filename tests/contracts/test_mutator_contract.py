"""The mutator contract passes the sketch of GDAS, and fails each way of getting it wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.choice import Decision
from nas_plugin.errors import OptionError
from nas_plugin.mutators import mutators
from nas_plugin.mutators._differentiable import (
    DifferentiableMutator,
    gumbel_noise,
    straight_through,
)
from nas_plugin.testing import MUTATOR_CHECKS

CHECKS = {check.__name__: check for check in MUTATOR_CHECKS}


class SketchMutator(DifferentiableMutator):
    """Samples one candidate per choice block by straight-through Gumbel-softmax."""

    sparse = True

    def __init__(
        self, model: nn.Module, *, tau_start: float = 10.0, tau_end: float = 0.1, seed: int = 0
    ) -> None:
        super().__init__(model, seed=seed)
        if not 0 < tau_end <= tau_start:
            raise OptionError(f"tau_end must lie in (0, {tau_start}], got {tau_end}")
        self.tau_start, self.tau_end = tau_start, tau_end
        self.tau = tau_start

    def start_epoch(self, progress: float) -> None:
        self.tau = self.tau_start + progress * (self.tau_end - self.tau_start)

    def relax(self, logits: Tensor) -> Tensor:
        noise = gumbel_noise(logits, self.generator)
        soft = self.masked_softmax((logits + noise) / self.tau)
        return straight_through(soft)


class WithoutStraightThrough(SketchMutator):
    def relax(self, logits: Tensor) -> Tensor:
        noisy = logits + gumbel_noise(logits, self.generator)
        first = noisy.masked_fill(~self.valid, float("-inf")).argmax(dim=1, keepdim=True)
        return torch.zeros_like(logits).scatter(1, first, 1.0)


class WithoutGradient(SketchMutator):
    def relax(self, logits: Tensor) -> Tensor:
        return super().relax(logits.detach())


class LogitsThatNobodyReads(SketchMutator):
    """Its soft values have a gradient, but of a constant."""

    def relax(self, logits: Tensor) -> Tensor:
        return super().relax(logits * 0.0)


class OneForSeveral(SketchMutator):
    """Its hard value is one input, however many are chosen."""

    def sample_search(self) -> dict[str, Decision]:
        decisions = super().sample_search()
        for key, decision in decisions.items():
            if decision.mix is not None and self.space[key].kind == "input":
                soft = self.masked_softmax(self.alphas)[self.rows.index(key)]
                one = straight_through(soft[None])[0, : len(self.space[key].candidates)]
                decisions[key] = Decision(one, (int(one.argmax()),))
        return decisions


class PathsAlone(SketchMutator):
    """Says which candidate runs, and forgets its coefficient."""

    def sample_search(self) -> dict[str, Decision]:
        found = super().sample_search()
        return {key: Decision(None, decision.active) for key, decision in found.items()}


class Infinite(SketchMutator):
    """Its gradient is not finite where noise is largest."""

    def relax(self, logits: Tensor) -> Tensor:
        return super().relax(logits) * (1 + (logits - logits.detach()).sqrt())


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    mutators.names()
    return monkeypatch


@pytest.mark.parametrize("check", MUTATOR_CHECKS, ids=lambda check: check.__name__)
def test_the_sketch_of_a_new_method_keeps_the_contract(
    check: object, registered: pytest.MonkeyPatch
) -> None:
    registered.setitem(mutators._members, "sketch", SketchMutator)
    CHECKS[check.__name__]("sketch")


@pytest.mark.parametrize(
    ("cls", "check", "message"),
    [
        (WithoutStraightThrough, "gives_every_logit_a_gradient", "straight_through"),
        (WithoutGradient, "gives_every_logit_a_gradient", "logits of .* never get a gradient"),
        (LogitsThatNobodyReads, "gives_every_logit_a_gradient", "gradient"),
        (PathsAlone, "gives_every_logit_a_gradient", "logits of .* never get a gradient"),
        (Infinite, "gives_every_logit_a_gradient", "not finite"),
        (OneForSeveral, "runs_as_many_as_are_chosen", "'two' runs 1 .* 2 are chosen"),
    ],
)
def test_a_fault_fails_its_check(
    cls: type[DifferentiableMutator],
    check: str,
    message: str,
    registered: pytest.MonkeyPatch,
) -> None:
    registered.setitem(mutators._members, "faulty", cls)
    with pytest.raises(AssertionError, match=message):
        CHECKS[check]("faulty")
