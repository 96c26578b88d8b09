"""What trainers are given: their options by name, and the forms that a model may have."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from typing_extensions import TypedDict

from nas_plugin.choice.keys import no_module
from nas_plugin.directions import Mode
from nas_plugin.errors import OptionError
from nas_plugin.trainers.callbacks import Callback
from nas_plugin.trainers.objective import Loss
from nas_plugin.trainers.parts import ArchSchedule, Perturbation, Regularizer

#: A network, or what makes one.
ModelLike = nn.Module | Callable[[], nn.Module]
#: An optimizer, or what makes one of parameters.
OptimizerLike = Optimizer | Callable[[list[nn.Parameter]], Optimizer]
Hessian = Literal["finite_difference", "exact"]


class TrainerOptions(TypedDict, total=False):
    """The keyword arguments of `Trainer`, which describes them."""

    valid_loss: Loss | None
    batch_size: int
    seed: int
    workers: int
    device: str | torch.device
    precision: str
    channels_last: bool | None
    grad_clip: float | None
    accumulate: int
    augment: Any
    eval_augment: Any
    limit_batches: int | None
    log_frequency: int | None
    callbacks: Sequence[Callback]
    progress: bool
    checkpoint_dir: str | Path | None
    checkpoint_every: int | None
    resume: bool
    rank_timeout: float | None


class SearchOptions(TrainerOptions, total=False):
    """Those of `SearchTrainer` but the mutator, whose default is each trainer's own."""

    execution: str


class ArchOptions(SearchOptions, total=False):
    """Those of trainers that step logits by an optimizer of their own."""

    arch_optimizer: Optimizer | None
    arch_learning_rate: float | None
    arch_weight_decay: float | None
    arch_betas: tuple[float, float] | None
    warmup_epochs: int | None
    regularizers: Sequence[Regularizer]
    schedule: ArchSchedule | None
    edge_normalisation: bool
    perturbation: Perturbation | str | None


class BilevelOptions(ArchOptions, total=False):
    """Those of `BilevelTrainer` but the mutator."""

    unrolled: bool
    hessian: Hessian
    split: float


class SinglePathOptions(SearchOptions, total=False):
    """Those of `SinglePathTrainer` but the mutator."""

    split: float | None
    samples: int | None
    monitor: str
    mode: Mode | None


def made_model(model: ModelLike) -> nn.Module:
    """Returns the model, or what the factory makes.

    Raises:
        OptionError: If it is neither.
    """
    made = model if isinstance(model, nn.Module) or not callable(model) else model()
    if not isinstance(made, nn.Module):
        raise OptionError(
            no_module(made, "a torch module, or a function without arguments that returns one")
        )
    lazy = [name for name, param in made.named_parameters() if is_lazy(param)]
    if lazy:
        raise OptionError(
            f"The model has parameters without a shape, among them '{lazy[0]}' of a lazy module. "
            "Call the model on a batch before it is given to a trainer."
        )
    return made


def made_optimizer(optimizer: OptimizerLike, model: nn.Module) -> Optimizer:
    """Returns the optimizer, or what the function makes of the model's parameters.

    Raises:
        OptionError: If it is neither, or holds no parameter of the model.
    """
    made = optimizer
    if not isinstance(made, Optimizer) and callable(made):
        made = made(list(model.parameters()))
    if not isinstance(made, Optimizer):
        raise OptionError(
            "optimizer is a torch optimizer, or a function from parameters to one, as "
            f"lambda params: SGD(params, lr=0.1); got {made!r}."
        )
    step = inspect.signature(type(made).step).parameters.get("closure")
    if step is not None and step.default is inspect.Parameter.empty:
        raise OptionError(
            f"{type(made).__name__} computes the loss several times a step, by a closure. Trainers "
            "give a step its gradients once: use an optimizer such as SGD or Adam."
        )
    weights = {id(p) for group in made.param_groups for p in group["params"]}
    if not weights & {id(p) for p in model.parameters()}:
        raise OptionError(
            "The optimizer holds no parameter of the model, so nothing would be trained. Make it "
            "of model.parameters(), of the very model that is passed, or give a function from "
            "parameters to an optimizer."
        )
    return made


def check_counts(**counts: int | None) -> None:
    """Raises OptionError if a number that is given is no positive whole one."""
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise OptionError(f"{name} must be a positive whole number, got {count!r}.")


def check_seconds(**times: float | None) -> None:
    """Raises OptionError if a time that is given is no positive number of seconds."""
    for name, seconds in times.items():
        if seconds is not None and not 0 < seconds < math.inf:
            raise OptionError(f"{name} must be a positive number of seconds, got {seconds!r}.")


def check_step(batch_size: int, accumulate: int, grad_clip: float | None) -> None:
    """Raises OptionError if a batch has fewer samples than parts, or nothing passes the clip."""
    if accumulate > batch_size:
        raise OptionError(
            f"accumulate={accumulate} parts cannot be made of batch_size={batch_size} samples."
        )
    if grad_clip is not None and not grad_clip > 0:
        raise OptionError(f"grad_clip must be positive or None, got {grad_clip}.")


def check_parts(loss: Any, parts: int) -> None:
    """Raises OptionError if a batch is computed in parts whose losses are sums.

    Parts are weighed by their share of the samples, which is right for means: of a sum, a step
    would descend one part's worth.
    """
    options = loss.keywords if isinstance(loss, partial) else {}
    reduction = options.get("reduction", getattr(loss, "reduction", None))
    if parts > 1 and reduction == "sum":
        raise OptionError(
            f"A batch is computed in {parts} parts (accumulate, and ranks), whose losses are "
            "averaged, but the loss has reduction='sum'. Use reduction='mean'."
        )
