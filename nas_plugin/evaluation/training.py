"""Evaluation by training a child from scratch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nas_plugin.errors import OptionError, TrainingError
from nas_plugin.space.architecture import Architecture
from nas_plugin.strategies.proposal import Outcome, Proposal

if TYPE_CHECKING:
    from torch import nn

    from nas_plugin.data import Loader

    Model = nn.Module


class TrainingEvaluator:
    """Trains a fresh model of every architecture and reports its validation accuracy.

    Stochastic gradient descent with Nesterov momentum and a cosine that ends with the last epoch,
    so a fidelity of 3 epochs is a short training of its own, not the beginning of a long one. The
    weights, the order of the samples and the split follow from `seed` alone: equal architectures
    get equal results.

    Reports ``default`` and ``accuracy`` (percent of the validation part), ``loss`` (training, last
    epoch) and ``params``.

    Args:
        factory: Makes the plain model of an architecture, as ``partial(nas_plugin.build, make)``
            does for a model with choice blocks.
        data: A data set by name, as `nas_plugin.data.load_data` knows it; its training part is
            split, the test part is not touched.
        epochs: Of proposals without a fidelity.
        valid_fraction: The share of the training part that validates.
        batch_size: Samples a step.
        lr: At the beginning.
        momentum: Nesterov's.
        weight_decay: On all weights.
        limit: Keep that many samples.
        seed: Of everything random.
        device: Where to train.

    Raises:
        OptionError: If a number is not allowed.
        DataError: If the data cannot be read.
    """

    def __init__(
        self,
        factory: Callable[[Architecture], Model],
        *,
        data: str = "digits",
        epochs: int = 9,
        valid_fraction: float = 0.25,
        batch_size: int = 64,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        limit: int | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if epochs < 1 or not 0 < valid_fraction < 1 or batch_size < 1 or not lr > 0:
            raise OptionError(
                "epochs and batch_size must be at least 1, valid_fraction in (0, 1) and lr "
                f"positive, got {epochs}, {batch_size}, {valid_fraction} and {lr}."
            )
        from nas_plugin.data import load_data, make_loader, split_indices, standard_augment

        self._factory, self._epochs, self._seed, self._device = factory, epochs, seed, device
        self._lr, self._momentum, self._weight_decay = lr, momentum, weight_decay
        dataset = load_data(data, limit=limit, seed=seed)
        targets = getattr(dataset, "targets", None)
        if targets is not None and targets.is_floating_point():
            raise OptionError(
                f"The targets of '{data}' are floats; TrainingEvaluator trains classifiers. For "
                "other losses give the search an object with evaluate(proposal) of your own."
            )
        parts = split_indices(
            len(dataset), (1 - valid_fraction, valid_fraction), seed=seed, targets=targets
        )

        def loader(part: int) -> Loader:
            return make_loader(
                dataset,
                batch_size=batch_size,
                seed=seed,
                indices=parts[part],
                shuffle=part == 0,
                augment=standard_augment(dataset, train=part == 0, seed=seed),
                device=device,
            )

        self._train, self._valid = loader(0), loader(1)

    def evaluate(self, proposal: Proposal) -> Outcome:
        """Trains and validates; the fidelity is a number of epochs.

        Raises:
            TrainingError: If the loss is not finite.
        """
        import torch

        epochs = self._epochs if proposal.fidelity is None else round(proposal.fidelity)
        if epochs < 1:
            raise OptionError(f"A fidelity of {proposal.fidelity} is less than one epoch.")
        began = time.monotonic()
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            model = self._factory(proposal.architecture).to(self._device)
            loss = self._fit(model, epochs)
            accuracy = self._accuracy(model)
        metrics = {
            "default": accuracy,
            "accuracy": accuracy,
            "loss": loss,
            "params": float(sum(p.numel() for p in model.parameters())),
        }
        return Outcome(metrics, seconds=time.monotonic() - began)

    def _fit(self, model: Model, epochs: int) -> float:
        """Trains `model` and returns the mean loss of the last epoch."""
        import torch
        from torch.nn import functional as F

        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            raise TrainingError("the architecture has no weights to train")
        optimizer = torch.optim.SGD(
            parameters,
            lr=self._lr,
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            nesterov=self._momentum > 0,
        )
        steps = epochs * len(self._train)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        model.train()
        mean = math.nan
        for epoch in range(epochs):
            total, n = 0.0, 0
            for x, y in self._train.batches(epoch):
                optimizer.zero_grad(set_to_none=True)
                loss = F.cross_entropy(model(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total, n = total + float(loss.detach()) * len(y), n + len(y)
            mean = total / n
            if not math.isfinite(mean):
                raise TrainingError(f"the loss is {mean} after epoch {epoch + 1}")
        return mean

    def _accuracy(self, model: Model) -> float:
        from torch.nn import functional as F

        from nas_plugin.runtime import Precision, pick_device
        from nas_plugin.trainers.metrics import accuracy
        from nas_plugin.trainers.objective import Objective

        precision = Precision("fp32", pick_device(self._device))
        measured = Objective(model, F.cross_entropy, accuracy, precision).measured(self._valid)
        return 100.0 * measured["accuracy"]
