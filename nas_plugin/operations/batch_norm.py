"""Batch norm inside a supernet, whose running statistics mix many paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Returns the batch norms of `model` that keep running statistics."""
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Lets every batch norm use the batch's own statistics, and leave its running ones alone.

    What a single path gives does then not depend on the paths that were trained before it.
    """
    norms = batch_norms(model)
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    try:
        for norm in norms:
            norm.training, norm.track_running_stats = True, False
        yield
    finally:
        for norm, (training, track) in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = training, track


@torch.no_grad()
def recalibrate(model: nn.Module, inputs: Iterable[Any]) -> None:
    """Replaces the running statistics by the mean over `inputs` of the batches' statistics.

    Only batch norms that run are changed to something useful: the others are reset. Everything
    else stays in the mode it is in.

    Args:
        model: Its blocks decided.
        inputs: Batches.
    """
    norms = batch_norms(model)
    before = [(norm.training, norm.momentum) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            # Without momentum torch keeps the plain mean of all batches.
            norm.training, norm.momentum = True, None
        for batch in inputs:
            model(batch)
    finally:
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.training, norm.momentum = training, momentum


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Restores the running statistics of every batch norm when the block ends."""
    norms = batch_norms(model)
    before = [{name: b.clone() for name, b in norm.named_buffers()} for norm in norms]
    try:
        yield
    finally:
        with torch.no_grad():
            for norm, saved in zip(norms, before, strict=True):
                for name, buffer in norm.named_buffers():
                    buffer.copy_(saved[name])
