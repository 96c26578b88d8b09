"""Lambda-DARTS: cells that share a decision are trained to agree about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.data.loader import Batch
from nas_plugin.errors import OptionError
from nas_plugin.mutators.mutator import REPEATABLE
from nas_plugin.operations.batch_norm import kept_statistics
from nas_plugin.space.skips import counted_keys
from nas_plugin.trainers.bilevel import DartsTrainer
from nas_plugin.trainers.fit import check_fit
from nas_plugin.trainers.gradients import gradients_of, summed
from nas_plugin.trainers.metrics import Metrics
from nas_plugin.trainers.objective import Loss, Values, add_share
from nas_plugin.trainers.options import BilevelOptions, ModelLike, OptimizerLike
from nas_plugin.trainers.search_trainer import MutatorLike


class LambdaDartsTrainer(DartsTrainer):
    """DARTS whose weights raise the mean cosine between the cells' gradients at the mix.

    With g_l the gradient of the training loss at the coefficients of the l-th of L cells that share
    their keys, and u = g / |g|::

        delta_l = 2 / (L (L - 1)) (I - u_l u_l^T) sum_k u_k / |g_l|,   eps = eps0 / |delta|

    the weights' gradient gets ``strength (grad L(mix - eps delta) - grad L(mix + eps delta)) /
    (2 eps)``, each cell's mix moved by itself. The strength grows from 0 in the first epoch to
    `strength` in the last. A step of the weights costs two more passes.

    Args:
        strength: Lambda in the last epoch.
        radius: eps0.
        prefix: The beginning of the keys of the cells; None: those of normal cells, or all in a
            space without them.
        mutator: Another mutator in place of ``darts`` that mixes alike in all passes of a step.
        **options: As `BilevelTrainer` takes them, beside its first seven arguments.

    Raises:
        OptionError: If an argument is not allowed, or no key occurs twice.

    References:
        Movahedi et al. 2023, https://arxiv.org/abs/2210.07998
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
        strength: float = 0.125,
        radius: float = 1e-4,
        prefix: str | None = None,
        mutator: MutatorLike | None = None,
        **options: Unpack[BilevelOptions],
    ) -> None:
        if strength < 0 or not radius > 0:
            raise OptionError(
                f"strength must not be negative and radius be positive, got {strength}, {radius}."
            )
        if options.get("perturbation") is not None:
            raise OptionError("Lambda-DARTS moves the mix itself, so a perturbation has no place.")
        super().__init__(
            model, loss, metrics, optimizer, num_epochs, dataset_train, dataset_valid,
            mutator=mutator, **options,
        )  # fmt: skip
        check_fit(self.mutator, self.needs | {REPEATABLE}, type(self).__name__)
        self.strength, self.radius = strength, radius
        self.cells = cells_of(self.model, counted_keys(self.mutator.space, prefix))

    @property
    def weight(self) -> float:
        """The strength of this epoch."""
        return self.strength * self.progress(self.epoch)

    def weight_step(self, batch: Batch) -> Values:
        if self.weight == 0:
            return super().weight_step(batch)
        grads, values = self.aligned_gradient(batch)
        self.step_weights(self.weights, grads)
        return values

    def aligned_gradient(self, batch: Batch) -> tuple[list[Tensor | None], Values]:
        """Returns the weights' gradient with the term that aligns the cells, and the values."""
        plain, at_mix, values = self._pass(batch, None)
        deltas = directions(at_mix)
        size = torch.stack([delta.square().sum() for delta in deltas]).sum().sqrt()
        if not size > 0:
            return plain, values
        eps = self.radius / size
        with kept_statistics(self.model):
            minus = self._pass(batch, [-eps * delta for delta in deltas])[0]
            plus = self._pass(batch, [eps * delta for delta in deltas])[0]
        factor = self.weight / (2 * eps)
        grads = [
            a if m is None or p is None else factor * (m - p) + (0.0 if a is None else a)
            for a, m, p in zip(plain, minus, plus, strict=True)
        ]
        return grads, values

    def _pass(
        self, batch: Batch, offsets: Sequence[Tensor] | None
    ) -> tuple[list[Tensor | None], list[Tensor], Values]:
        """Returns the gradients at the weights and at the mix of each cell, and the values."""
        binding = self.mutator.binding
        totals: list[Tensor | None] = [None] * len(self.weights)
        at_mix: list[Tensor | None] = [None] * len(self.cells)
        values: Values = {}
        with occurrences(self.cells):
            for part, share in self.gradients.parts(batch, needs_alphas=False):
                decided = dict(binding.decisions)
                leaves = []
                for number, cell in enumerate(self.cells):
                    mixes = [mix for key in cell if (mix := decided[key].mix) is not None]
                    leaf = torch.cat(mixes).detach()
                    leaf = (leaf if offsets is None else leaf + offsets[number]).requires_grad_()
                    pieces = torch.split(leaf, [len(mix) for mix in mixes])
                    for key, piece in zip(cell, pieces, strict=True):
                        decided[_occurrence(key, number)] = replace(decided[key], mix=piece)
                    leaves.append(leaf)
                binding.decisions = decided
                loss, found = self.objective(part)
                scaled = self.precision.scale(loss * share)
                if offsets is None:
                    first = torch.autograd.grad(scaled, leaves, retain_graph=True)
                    at_mix = summed(at_mix, list(first))
                totals = summed(totals, gradients_of(scaled, self.weights))
                add_share(values, found, share)
        known = [grad for grad in self.gradients.averaged(at_mix) if grad is not None]
        return self.gradients.averaged(totals), known, values


def directions(grads: Sequence[Tensor]) -> list[Tensor]:
    """Returns the gradient of the mean cosine of all pairs of vectors, at each of them."""
    n = len(grads)
    norms = [grad.norm().clamp_min(1e-12) for grad in grads]
    units = [grad / norm for grad, norm in zip(grads, norms, strict=True)]
    total = torch.stack(units).sum(dim=0)
    return [
        2 / (n * (n - 1)) * (total - unit * (unit @ total)) / norm
        for unit, norm in zip(units, norms, strict=True)
    ]


def cells_of(model: nn.Module, keys: Sequence[str]) -> list[dict[str, LayerChoice]]:
    """Returns, for the l-th occurrence of all keys, key → block.

    Raises:
        OptionError: If keys occur once, or not equally often.
    """
    places: dict[str, list[LayerChoice]] = {key: [] for key in keys}
    for place in keyed_blocks(model):
        if place.key in places and isinstance(place.block, LayerChoice):
            places[place.key].append(place.block)
    counts = {len(blocks) for blocks in places.values()}
    if len(counts) != 1 or counts == {1}:
        raise OptionError(
            "Lambda-DARTS aligns cells that share their keys, each of which must occur equally "
            f"often and twice at least; here keys occur {sorted(counts)} times."
        )
    return [{key: places[key][i] for key in keys} for i in range(counts.pop())]


@contextmanager
def occurrences(cells: Sequence[Mapping[str, LayerChoice]]) -> Iterator[None]:
    """Lets each block look its decision up under a name of its own; afterwards under its key."""
    bound = [(block, block.binding, key, i) for i, cell in enumerate(cells)
             for key, block in cell.items()]  # fmt: skip
    try:
        for block, binding, key, i in bound:
            block.bind(binding, _occurrence(key, i))
        yield
    finally:
        for block, binding, key, _ in bound:
            block.bind(binding, key)


def _occurrence(key: str, number: int) -> str:
    return f"{key}#{number}"
