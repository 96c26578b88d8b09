"""Evaluation with the weights of a trained supernet."""

from __future__ import annotations

import math
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from nas_plugin.errors import OptionError, TrainingError
from nas_plugin.strategies.proposal import Outcome, Proposal

if TYPE_CHECKING:
    from torch import nn


class SupernetEvaluator:
    """Validates single paths of a supernet, each with recalibrated batch-norm statistics.

    Before a path is validated the statistics of its batch norms are replaced by their means over
    `calibration_batches` training batches, which follow from the seed and are the same for every
    path; afterwards the supernet is as it was. So a result depends on the architecture alone,
    neither on the order nor on the process in which paths are evaluated.

    Reports ``default`` and ``accuracy`` (percent) and ``loss``.

    Args:
        model: The trained supernet; its blocks must be free (`Mutator.unbind`).
        dataset_train: For the statistics.
        dataset_valid: What paths are ranked by: neither trained on nor the test set.
        loss: ``(output, target) -> scalar``; cross entropy if None.
        calibration_batches: How many; 0 keeps the statistics of the supernet.
        batch_size: Samples of a batch.
        augment: Applied to training batches.
        eval_augment: Applied to validation batches.
        seed: Seed of the order of the training batches.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<n>``.

    Raises:
        OptionError: If a number is not allowed.
        ChoiceError: If a mutator decides the model.

    References:
        Guo et al. 2019, section 3.4, https://arxiv.org/abs/1904.00420
    """

    def __init__(
        self,
        model: nn.Module,
        dataset_train: Any,
        dataset_valid: Any,
        *,
        loss: Any = None,
        calibration_batches: int = 200,
        batch_size: int = 64,
        augment: Any = None,
        eval_augment: Any = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        from torch.nn import functional as F

        from nas_plugin.data import make_loader
        from nas_plugin.mutators import RandomMutator
        from nas_plugin.runtime import Precision, pick_device
        from nas_plugin.trainers.metrics import accuracy
        from nas_plugin.trainers.objective import Objective

        if calibration_batches < 0 or batch_size < 1:
            raise OptionError(
                "calibration_batches must not be negative and batch_size be at least 1, got "
                f"{calibration_batches} and {batch_size}."
            )
        self._device = pick_device(device)
        self._model = model.to(self._device).eval()
        self._mutator = RandomMutator(model)
        self.space = self._mutator.space
        self._objective = Objective(
            self._model, loss or F.cross_entropy, accuracy, Precision("fp32", self._device)
        )
        self._train = make_loader(
            dataset_train, batch_size=batch_size, seed=seed, augment=augment, drop_last=True,
            device=self._device,
        )  # fmt: skip
        self._valid = make_loader(
            dataset_valid, batch_size=batch_size, seed=seed, augment=eval_augment, shuffle=False,
            device=self._device,
        )  # fmt: skip
        if calibration_batches > 0 and len(self._train) == 0:
            raise OptionError("The training set holds no whole batch; lower batch_size.")
        self._calibration_batches = calibration_batches

    def close(self) -> None:
        """Frees the supernet's blocks."""
        self._mutator.unbind(self._model)

    def evaluate(self, proposal: Proposal) -> Outcome:
        """Validates one path.

        Raises:
            TrainingError: If the loss is not finite.
        """
        from nas_plugin.operations.batch_norm import kept_statistics, recalibrate
        from nas_plugin.trainers._cycle import cycled

        began = time.monotonic()
        self._mutator.use(proposal.architecture)
        with kept_statistics(self._model):
            if self._calibration_batches:
                batches = islice(cycled(self._train, 0), self._calibration_batches)
                recalibrate(self._model, (inputs for inputs, _ in batches))
            means = self._objective.measured(self._valid)
        if not math.isfinite(means["loss"]):
            raise TrainingError(f"the validation loss is {means['loss']}")
        percent = 100 * means["accuracy"]
        metrics = {"default": percent, "accuracy": percent, "loss": means["loss"]}
        return Outcome(metrics, seconds=time.monotonic() - began)
