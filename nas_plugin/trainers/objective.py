"""One forward pass and what is made of it: the output, its loss, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.data import Loader
from nas_plugin.data.loader import Batch
from nas_plugin.data.nested import joined, sample_count
from nas_plugin.operations.batch_norm import batch_statistics
from nas_plugin.runtime import Layout, Precision
from nas_plugin.trainers.meters import Meters
from nas_plugin.trainers.metrics import Metrics, MetricSet
from nas_plugin.trainers.preflight import Preflight

Loss = Callable[[Any, Any], Tensor]
Values = dict[str, Tensor | float]


class Objective:
    """What a batch is worth to a model, for a step and for a measurement alike.

    Args:
        model: The network.
        loss: ``(output, target) -> scalar``.
        metrics: As `MetricSet` takes them.
        precision: What the forward pass computes in.
        layout: How images are laid out; plain if None.
        valid_loss: The loss of held-out batches; None: `loss` without its label smoothing.
        preflight: Checks the first batches; one that knows no data sets if None.

    Attributes:
        aux_weight: Factor of the loss of an auxiliary head; the model then returns the pair
            ``(output, auxiliary output)`` while it trains. None passes the output on as it is.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        metrics: Metrics,
        precision: Precision,
        layout: Layout | None = None,
        *,
        valid_loss: Loss | None = None,
        preflight: Preflight | None = None,
    ) -> None:
        self.model, self.loss, self.metrics = model, loss, MetricSet(metrics)
        self.valid_loss = valid_loss
        self.precision, self.layout = precision, layout or Layout(False)
        self.preflight = preflight or Preflight()
        self.aux_weight: float | None = None

    def __call__(self, batch: Batch, *, held_out: bool = False) -> tuple[Tensor, Values]:
        """Returns what a step descends, and the loss and metrics to report.

        Only what is descended holds the loss of an auxiliary head.
        """
        objective, values, _ = self._of(batch, held_out)
        return objective, values

    def _of(self, batch: Batch, held_out: bool) -> tuple[Tensor, Values, Any]:
        """Returns what a call returns, and the model's output."""
        inputs, targets = batch
        criterion = self.loss
        if held_out:
            criterion = self.valid_loss or unsmoothed(self.loss)
        with self.precision.autocast():
            output, auxiliary = self.preflight.output(self.forward, inputs, held_out), None
            if self.aux_weight is not None and isinstance(output, tuple):
                output, auxiliary = output
            loss = objective = self.preflight.loss(criterion, output, targets, held_out)
            if auxiliary is not None and self.aux_weight:
                objective = loss + self.aux_weight * criterion(auxiliary, targets)
        with torch.no_grad():
            return objective, {"loss": loss, **self.metrics(output, targets)}, output

    def forward(self, inputs: Any) -> Any:
        """Returns the model's output."""
        return self.layout.forward(self.model, inputs)

    @torch.no_grad()
    def measured(
        self,
        loader: Loader,
        *,
        before_batch: Callable[[], None] | None = None,
        own_statistics: bool = False,
    ) -> dict[str, float]:
        """Returns loss and metrics over a loader, in evaluation mode.

        They are means over the samples, but for metrics of the whole set.

        Args:
            loader: What is measured.
            before_batch: Called before every batch, for example to draw a path.
            own_statistics: Normalise every batch by its own statistics, not by the running ones,
                which in a supernet of single paths are those of all paths together. A last batch
                of few samples joins the one before it.
        """
        training = self.model.training
        self.model.eval()
        meters = Meters()
        self.metrics.reset(next((p.device for p in self.model.parameters()), None))
        with batch_statistics(self.model) if own_statistics else nullcontext():
            batches = loader.batches(0)
            for batch in _without_remainder(batches) if own_statistics else batches:
                if before_batch is not None:
                    before_batch()
                _, values, output = self._of(batch, held_out=True)
                meters.add(values, sample_count(batch[1]))
                self.metrics.update(output, batch[1])
        self.model.train(training)
        return {**meters.means(), **self.metrics.compute()}


def unsmoothed(loss: Loss) -> Loss:
    """Returns cross entropy without label smoothing; any other loss as it is.

    Known are `nn.CrossEntropyLoss` and a `partial` of `nn.functional.cross_entropy`.
    """
    if isinstance(loss, nn.CrossEntropyLoss) and loss.label_smoothing > 0:
        plain = copy(loss)  # of the same class, which may weigh or mask in its own way
        plain.label_smoothing = 0.0
        return plain
    if isinstance(loss, partial) and loss.func is nn.functional.cross_entropy:
        options = {k: v for k, v in loss.keywords.items() if k != "label_smoothing"}
        return partial(loss.func, *loss.args, **options)
    return loss


def _without_remainder(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Joins a last batch of less than half the size of the one before to that one."""
    held: Batch | None = None
    for batch in batches:
        if held is not None:
            if 2 * sample_count(batch[1]) < sample_count(held[1]):
                batch = joined(held[0], batch[0]), joined(held[1], batch[1])
            else:
                yield held
        held = batch
    if held is not None:
        yield held


def add_share(total: Values, values: Mapping[str, Tensor | float], share: float) -> None:
    """Adds the values of a part of a batch to those of the whole, by the part's share."""
    for name, value in values.items():
        total[name] = total.get(name, 0.0) + torch.as_tensor(value).detach() * share
