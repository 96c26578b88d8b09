"""Single layers and short chains of them, as model descriptions name them."""

from __future__ import annotations

from torch import Tensor, nn

from nas_plugin.errors import OptionError


def conv(
    c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Returns a convolution that keeps height and width apart from its stride."""
    _check_odd(kernel)
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=bias)


def conv_bn(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Returns a convolution and batch norm: the usual stem."""
    return nn.Sequential(conv(c_in, c_out, kernel, stride, bias=False), nn.BatchNorm2d(c_out))


def conv_bn_relu(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Returns a convolution, batch norm and ReLU."""
    return nn.Sequential(*conv_bn(c_in, c_out, kernel, stride), nn.ReLU())


def batch_norm(c: int, affine: bool = True) -> nn.BatchNorm2d:
    """Returns batch norm of images."""
    return nn.BatchNorm2d(c, affine=affine)


def linear(c_in: int, c_out: int, bias: bool = True) -> nn.Linear:
    """Returns a linear layer on vectors."""
    return nn.Linear(c_in, c_out, bias)


def relu() -> nn.ReLU:
    """Returns ReLU."""
    return nn.ReLU()


def identity() -> nn.Identity:
    """Returns its input."""
    return nn.Identity()


def dropout(p: float = 0.5) -> nn.Dropout:
    """Returns dropout of single numbers."""
    return nn.Dropout(p)


def flatten() -> nn.Flatten:
    """Returns images as vectors."""
    return nn.Flatten()


def average_halves() -> nn.AvgPool2d:
    """Returns 2x2 average pooling that halves height and width."""
    return nn.AvgPool2d(2, 2)


def max_halves() -> nn.MaxPool2d:
    """Returns 2x2 max pooling that halves height and width; odd ones are rounded up."""
    return nn.MaxPool2d(2, 2, ceil_mode=True)


def global_avg_pool() -> nn.Sequential:
    """Returns the average of every channel, as a vector."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class SpatialMean(nn.Module):
    """The mean over height and width: `global_avg_pool` in one reduction, rounded otherwise.

    Shape:
        - Input: ``(N, C, H, W)``
        - Output: ``(N, C)``
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def _check_odd(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise OptionError(f"kernel must be odd, so that sizes are kept, got {kernel}.")
