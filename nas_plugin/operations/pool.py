"""Pooling that keeps the number of channels."""

from __future__ import annotations

from torch import nn


def max_pool(c: int, stride: int = 1, *, norm: bool = True) -> nn.Module:
    """Returns 3x3 max pooling, followed by batch norm without affine where `norm`."""
    return _normed(nn.MaxPool2d(3, stride, padding=1), c, norm)


def avg_pool(c: int, stride: int = 1, *, norm: bool = True) -> nn.Module:
    """Returns 3x3 average pooling that does not count the padding, and `norm` as `max_pool`."""
    return _normed(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), c, norm)


def _normed(pool: nn.Module, c: int, norm: bool) -> nn.Module:
    return nn.Sequential(pool, nn.BatchNorm2d(c, affine=False)) if norm else pool
