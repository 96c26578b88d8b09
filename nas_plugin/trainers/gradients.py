"""The gradients of a step: decisions, micro-batches, precision and ranks, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas_plugin.choice.decision import Decision
from nas_plugin.data.loader import Batch
from nas_plugin.data.nested import mapped, sample_count
from nas_plugin.mutators import Mutator
from nas_plugin.operations.batch_norm import kept_statistics
from nas_plugin.runtime import Precision, Ranks, is_fused, same_layouts
from nas_plugin.trainers.objective import Objective, Values, add_share
from nas_plugin.trainers.parts import Perturbation, Regularizer


class Gradients:
    """Computes gradients of a batch's loss, and steps optimizers on them.

    Every gradient is that of the mean over the whole batch, of all micro-batches and ranks.

    Args:
        objective: What is differentiated.
        weights: The parameters of the network that are trained.
        precision: Scales losses, and unscales gradients, where it is fp16.
        ranks: The processes whose mean is taken.
        accumulate: Micro-batches that a batch is computed in.

    Attributes:
        mutator: Decides the model before each pass; None for a plain model.
        alphas: The mutator's logits.
    """

    def __init__(
        self,
        objective: Objective,
        weights: Sequence[nn.Parameter],
        precision: Precision,
        ranks: Ranks,
        *,
        accumulate: int = 1,
    ) -> None:
        self.objective, self.weights = objective, list(weights)
        self.precision, self.ranks, self.accumulate = precision, ranks, accumulate
        self.mutator: Mutator | None = None
        self.alphas: list[nn.Parameter] = []
        # Of the model and others: a backward pass reaches both.
        self._reachable = list(dict.fromkeys([*objective.model.parameters(), *weights]))

    def __call__(
        self,
        batch: Batch,
        wrt: Sequence[nn.Parameter],
        *,
        terms: Sequence[Regularizer] = (),
        perturbation: Perturbation | None = None,
        held_out: bool = False,
    ) -> tuple[list[Tensor | None], Values]:
        """Returns the gradient of the loss of a batch, and the values to report.

        Only what `wrt` needs is computed: without logits in it, decisions carry no gradient;
        without weights, the weights need none.

        Args:
            batch: Inputs and targets.
            wrt: Parameters; those that are frozen or that the loss does not reach get None.
            terms: What the loss is multiplied by and what is added, as in a step of the logits.
            perturbation: Changes the decisions for this pass, as in a step of the weights.
            held_out: Whether the weights are not trained on the batch, as in a step of the logits.
        """
        totals: list[Tensor | None] = [None] * len(wrt)
        values: Values = {}
        drawn = perturbation.state_dict() if perturbation is not None else {}
        with self.only(wrt) as needs_alphas:
            for part, share in self.parts(batch, needs_alphas):
                if perturbation is not None and self.accumulate > 1:
                    # Like the mutator, it draws once a step, whatever the number of parts.
                    perturbation.load_state_dict(drawn)
                with self._perturbed(perturbation, part):
                    loss, found = self.objective(part, held_out=held_out)
                loss = self._regularized(loss, terms)
                totals = summed(totals, gradients_of(self.precision.scale(loss * share), wrt))
                add_share(values, found, share)
        return self.averaged(totals), values

    def of_paths(
        self, batch: Batch, paths: int = 1
    ) -> tuple[list[nn.Parameter], list[Tensor | None], Values]:
        """Returns the weights that were reached, the sums of their gradients, and mean values.

        `backward` accumulates them, which was measured to be a quarter faster than
        `autograd.grad` on small batches. What a path does not run has no gradient at all.

        Args:
            batch: Inputs and targets.
            paths: Paths whose gradients are summed, each drawn once for the whole batch.
        """
        values: Values = {}
        self._clear()
        for _ in range(paths):
            if self.mutator is not None:
                with torch.no_grad():
                    self.mutator.reset()
            for part, share in micro_batches(batch, self.accumulate):
                loss, found = self.objective(part)
                self.precision.scale(loss * share).backward()  # type: ignore[no-untyped-call]
                add_share(values, found, share / paths)
        reached = [param for param in self.weights if param.grad is not None]
        grads = self.averaged([param.grad for param in reached])
        self._clear()
        return reached, grads, values

    def parts(self, batch: Batch, needs_alphas: bool) -> Iterator[tuple[Batch, float]]:
        """Yields micro-batches and their shares, the mutator having decided alike for each.

        Every part gets a graph of its own, but what is drawn at random is drawn once a step, so
        that the parts add up to the whole batch.
        """
        drawn = None if self.mutator is None else self.mutator.generator.get_state()
        for part in micro_batches(batch, self.accumulate):
            if self.mutator is not None and drawn is not None:
                self.mutator.generator.set_state(drawn)
                with torch.set_grad_enabled(needs_alphas):
                    self.mutator.reset()
            yield part

    def averaged(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Unscales gradients and averages them over the ranks."""
        known = self.precision.unscale([grad for grad in grads if grad is not None])
        self.ranks.average(known)
        rest = iter(known)
        return [None if grad is None else next(rest) for grad in grads]

    def step(
        self,
        optimizer: Optimizer,
        params: Sequence[nn.Parameter],
        grads: Sequence[Tensor | None],
        grad_clip: float | None = None,
    ) -> None:
        """Gives gradients to an optimizer and steps it."""
        for param, grad in zip(params, grads, strict=True):
            param.grad = None if grad is None else self.precision.scale(grad)
        if is_fused(optimizer):
            same_layouts(optimizer, params)
        self.precision.step(optimizer, list(params), grad_clip)
        for param in params:
            param.grad = None

    def _regularized(self, loss: Tensor, terms: Sequence[Regularizer]) -> Tensor:
        if self.mutator is None:
            return loss
        for term in terms:
            factor = term.factor(self.mutator)
            loss = loss if factor is None else loss * factor
        for term in terms:
            added = term(self.mutator)
            loss = loss if added is None else loss + added
        return loss

    @contextmanager
    def _perturbed(self, perturbation: Perturbation | None, part: Batch) -> Iterator[None]:
        """Lets the model run under the perturbed decisions; afterwards they are as before."""
        if perturbation is None or self.mutator is None:
            yield
            return
        binding = self.mutator.binding
        decided = binding.decisions

        def loss(decisions: Mapping[str, Decision]) -> Tensor:
            binding.decisions = decisions
            with self._mode(evaluates=perturbation.evaluates), self.only(()):
                return self.objective(part)[0]

        try:
            # Not inside `loss`: restored before the backward pass, torch would find them changed.
            with kept_statistics(self.objective.model):
                perturbed = perturbation(decided, loss)
            binding.decisions = perturbed
            yield
        finally:
            binding.decisions = decided

    @contextmanager
    def _mode(self, *, evaluates: bool) -> Iterator[None]:
        """Lets the model run in evaluation mode, if asked for; afterwards it is as before."""
        training = [m for m in self.objective.model.modules() if evaluates and m.training]
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True

    @contextmanager
    def only(self, wrt: Sequence[nn.Parameter]) -> Iterator[bool]:
        """Lets only the kinds of parameters in `wrt` require gradients; yields: logits too?"""
        wanted = {id(p) for p in wrt}
        needs_alphas = any(id(p) in wanted for p in self.alphas)
        frozen: Iterable[nn.Parameter] = ()
        if not any(id(p) in wanted for p in self.weights):
            frozen = [p for p in self.weights if p.requires_grad]
        try:
            for param in frozen:
                param.requires_grad_(False)
            yield needs_alphas
        finally:
            for param in frozen:
                param.requires_grad_(True)

    def _clear(self) -> None:
        for param in self._reachable:
            param.grad = None


def gradients_of(
    loss: Tensor, wrt: Sequence[nn.Parameter], *, create_graph: bool = False
) -> list[Tensor | None]:
    """Returns the gradient of each parameter; None if it is frozen or not reached."""
    wanted = [param for param in wrt if param.requires_grad]
    if not wanted:
        return [None] * len(wrt)
    found = torch.autograd.grad(loss, wanted, create_graph=create_graph, allow_unused=True)
    rest = iter(found)
    return [next(rest) if param.requires_grad else None for param in wrt]


def summed(totals: Sequence[Tensor | None], grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Returns the sums of two lists of gradients, in which None is no gradient."""
    return [
        a if b is None else b if a is None else a + b for a, b in zip(totals, grads, strict=True)
    ]


def micro_batches(batch: Batch, parts: int) -> Iterator[tuple[Batch, float]]:
    """Yields parts of a batch, each with its share of the samples."""
    inputs, targets = batch
    if parts == 1:
        yield batch, 1.0
        return
    n = sample_count(targets)
    size = -(-n // parts)
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        part = mapped(inputs, itemgetter(rows)), mapped(targets, itemgetter(rows))
        yield part, (rows.stop - start) / n
