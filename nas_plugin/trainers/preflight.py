"""What is checked on the first batches, before anything steps: data, model and loss must fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.data import ArrayDataset
from nas_plugin.errors import DataError, NasError, OptionError, TrainingError

#: What torch and modules raise if they cannot read what they are given.
_FAILURES = (RuntimeError, IndexError, ValueError, TypeError)
_CLASS_MODULES = (nn.CrossEntropyLoss, nn.NLLLoss)
_CLASS_FUNCTIONS = (nn.functional.cross_entropy, nn.functional.nll_loss)


class Preflight:
    """Turns what would fail inside torch on a first batch into an error that names the batch.

    It looks at the first batch that is trained on and at the first held-out batch, inside the very
    passes of the steps, so that nothing is computed twice and no random state moves.

    Args:
        dataset_train: What is trained on, or a pair of it.
        dataset_valid: What is only measured.
    """

    def __init__(self, dataset_train: Any = None, dataset_valid: Any = None) -> None:
        pair = isinstance(dataset_train, (tuple, list))
        parts = [("dataset_train", part) for part in (dataset_train if pair else [dataset_train])]
        self._labels = [
            (name, part.targets)
            for name, part in (*parts, ("dataset_valid", dataset_valid))
            # Only of these it is certain that a sample's target is what is stored.
            if isinstance(part, ArrayDataset) and type(part).__getitem__ is ArrayDataset.__getitem__
        ]
        self._passed: set[bool] = set()

    def output(self, forward: Callable[[Any], Any], inputs: Any, held_out: bool) -> Any:
        """Returns the model's output.

        Raises:
            TrainingError: If the model fails on its first batch.
        """
        if held_out in self._passed:
            return forward(inputs)
        try:
            return forward(inputs)
        except _FAILURES as error:
            if isinstance(error, (NasError, torch.OutOfMemoryError)):
                raise
            raise TrainingError(
                f"The model fails on its first batch, whose inputs are {stated(inputs)}: "
                f"{_sentence(error)} Give inputs of the shape and type that the model reads, or "
                "build the model for these."
            ) from error

    def loss(
        self, criterion: Callable[[Any, Any], Tensor], output: Any, targets: Any, held_out: bool
    ) -> Tensor:
        """Returns the loss.

        Raises:
            DataError: If targets of a known loss of classes are no classes of the model.
            OptionError: If the loss is more than one number, or one of torch's losses of numbers
                would compare every output with every target.
            TrainingError: If the loss fails, on the first batch or a later one.
        """
        first = held_out not in self._passed
        if first:
            self._check_classes(criterion, output, targets)
        try:
            loss = (_without_broadcast if first else _plainly)(criterion, output, targets)
        except _FAILURES as error:
            if isinstance(error, (NasError, torch.OutOfMemoryError)):
                raise
            raise TrainingError(
                f"The loss fails on the output {stated(output)} and the targets {stated(targets)}: "
                f"{_sentence(error)} Give targets that the loss can compare with this output, or "
                "another loss."
            ) from error
        if first and isinstance(loss, Tensor) and loss.numel() != 1:
            raise OptionError(
                f"The loss returned {stated(loss)}; it must be one number per batch. Use "
                "reduction='mean', or return loss.mean()."
            )
        self._passed.add(held_out)
        return loss

    def _check_classes(self, criterion: Any, output: Any, targets: Any) -> None:
        ignored = _ignored_class(criterion)
        if ignored is None or not isinstance(output, Tensor) or not isinstance(targets, Tensor):
            return
        if output.dim() < 2 or (targets.is_floating_point() and targets.shape == output.shape):
            return
        if targets.dtype not in (torch.int64, torch.uint8):
            raise DataError(
                f"The targets are {stated(targets)}, the output is {stated(output)}. A loss of "
                "classes takes whole numbers (int64) with one class per sample, and cross entropy "
                f"also probabilities of the shape {tuple(output.shape)}. Convert classes with "
                "targets.long(); for regression use a loss of numbers, such as mse_loss."
            )
        for name, labels in (("The first batch", targets), *self._labels):
            _check_range(name, labels[labels != ignored], output.shape[1])


def _plainly(criterion: Callable[[Any, Any], Tensor], output: Any, targets: Any) -> Tensor:
    return criterion(output, targets)


def _without_broadcast(
    criterion: Callable[[Any, Any], Tensor], output: Any, targets: Any
) -> Tensor:
    """Returns the loss; torch only warns where it broadcasts output and targets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Using a target size", category=UserWarning)
        try:
            return criterion(output, targets)
        except UserWarning as warning:
            raise OptionError(
                f"The output is {stated(output)}, the targets are {stated(targets)}: the loss "
                "would broadcast them, and compare outputs with the targets of other samples. Give "
                "both one shape, for example by targets[:, None], or by nn.Flatten(0) at the "
                "model's end."
            ) from warning


def _check_range(name: str, labels: Tensor, classes: int) -> None:
    if labels.numel() == 0:
        return
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= classes:
        raise DataError(
            f"{name} holds the class {least if least < 0 else most}, but the model has {classes} "
            f"outputs, so classes lie in [0, {classes - 1}]. Number the classes from 0, build the "
            "model with one output per class, or set the loss's ignore_index."
        )


def _ignored_class(loss: Any) -> int | None:
    """Returns the class that a known loss of classes leaves out; None for other losses."""
    if type(loss) in _CLASS_MODULES:
        return int(loss.ignore_index)
    options = loss.keywords if isinstance(loss, partial) else {}
    function = loss.func if isinstance(loss, partial) else loss
    known = any(function is one for one in _CLASS_FUNCTIONS)
    return int(options.get("ignore_index", -100)) if known else None


def stated(value: Any) -> str:
    """Returns the types and shapes of tensors in words, such as ``float32 (64, 3, 32, 32)``."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {stated(part)}" for name, part in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(stated(part) for part in value) + "]"
    return type(value).__name__


def _sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
