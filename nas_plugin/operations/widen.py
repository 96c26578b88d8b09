"""Wider copies of trained candidates (Net2Wider)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas_plugin.errors import OptionError
from nas_plugin.operations.conv import FactorizedReduce


@dataclass(frozen=True)
class Widened:
    """A parameter and the wider one that was made of it.

    Args:
        old: The parameter.
        new: Its wider copy.
        out: Which of the old channels each new output channel repeats; None where none was added.
        into: Likewise for input channels.
    """

    old: Tensor
    new: Tensor
    out: Tensor | None
    into: Tensor | None

    def gathered(self, state: Tensor) -> Tensor:
        """Returns what an optimizer holds for `old` in the shape of `new`."""
        if self.out is not None:
            state = state[self.out]
        return state if self.into is None else state[:, self.into]


def repeated(n: int, wide: int, generator: torch.Generator) -> Tensor:
    """Returns all of n channels, followed by random ones of them up to `wide`."""
    more = torch.randint(n, (wide - n,), generator=generator)
    return torch.cat([torch.arange(n), more])


def widen(
    old: nn.Module, new: nn.Module, inputs: Tensor, generator: torch.Generator
) -> tuple[list[Widened], Tensor]:
    """Gives a wider candidate the weights of a narrow one, in place.

    Output channels that are added repeat others; so do input channels, whose weights are divided
    by how often a channel occurs. On an input whose added channels repeat those of `inputs` the
    wide candidate gives what the narrow one gives, its channels repeated likewise.

    Args:
        old: The narrow candidate, a sequence of convolutions, batch norms and what has no weights,
            or a factorized reduction.
        new: Made alike, but wider.
        inputs: Which of the old input channels each new one repeats.
        generator: Draws what the outputs repeat.

    Returns:
        The parameters, and which of the old output channels each new one repeats.

    Raises:
        OptionError: If a module with weights is of another kind.
    """
    if _same_shapes(old, new):
        return _copied(old, new), inputs
    current = inputs
    found: list[Widened] = []
    for narrow, wide in zip(_leaves(old), _leaves(new), strict=True):
        if isinstance(narrow, FactorizedReduce) and isinstance(wide, FactorizedReduce):
            pairs, current = _reduction(narrow, wide, current, generator)
        elif isinstance(narrow, nn.Conv2d) and isinstance(wide, nn.Conv2d):
            pairs, current = _conv(narrow, wide, current, generator)
        elif isinstance(narrow, _BatchNorm) and isinstance(wide, _BatchNorm):
            pairs = _norm(narrow, wide, current)
        elif any(True for _ in (*narrow.parameters(), *narrow.buffers())):
            raise OptionError(
                f"A {type(narrow).__name__} cannot be widened: candidates of a search whose "
                "channels grow are made of Conv2d, batch norms and modules without weights."
            )
        else:
            pairs = []
        found += pairs
    return found, current


def _same_shapes(old: nn.Module, new: nn.Module) -> bool:
    sizes = [[t.shape for t in (*m.parameters(), *m.buffers())] for m in (old, new)]
    return sizes[0] == sizes[1]


def _copied(old: nn.Module, new: nn.Module) -> list[Widened]:
    new.load_state_dict(old.state_dict())
    pairs = zip(old.parameters(), new.parameters(), strict=True)
    return [Widened(a, b, None, None) for a, b in pairs]


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Yields what a candidate consists of, in the order of computation."""
    children = list(module.children())
    if not children or isinstance(module, FactorizedReduce):
        yield module
        return
    for child in children:
        yield from _leaves(child)


@torch.no_grad()
def _conv(
    old: nn.Conv2d, new: nn.Conv2d, inputs: Tensor, generator: torch.Generator
) -> tuple[list[Widened], Tensor]:
    depthwise = old.groups == old.in_channels == old.out_channels > 1
    if not depthwise and old.groups != 1:
        raise OptionError(f"A convolution of {old.groups} groups cannot be widened: {old}.")
    out = inputs if depthwise else repeated(old.out_channels, new.out_channels, generator)
    weight = old.weight[out]
    if not depthwise:
        times = torch.bincount(inputs, minlength=old.in_channels)[inputs]
        weight = weight[:, inputs] / times.to(weight)[:, None, None]
    new.weight.copy_(weight)
    pairs = [Widened(old.weight, new.weight, out, None if depthwise else inputs)]
    if old.bias is not None and new.bias is not None:
        new.bias.copy_(old.bias[out])
        pairs.append(Widened(old.bias, new.bias, out, None))
    return pairs, out


@torch.no_grad()
def _norm(old: _BatchNorm, new: _BatchNorm, channels: Tensor) -> list[Widened]:
    for name, buffer in old.named_buffers():
        new.get_buffer(name).copy_(buffer[channels] if buffer.dim() else buffer)
    pairs = []
    for name, param in old.named_parameters():
        wide = new.get_parameter(name)
        wide.copy_(param[channels])
        pairs.append(Widened(param, wide, channels, None))
    return pairs


def _reduction(
    old: FactorizedReduce, new: FactorizedReduce, inputs: Tensor, generator: torch.Generator
) -> tuple[list[Widened], Tensor]:
    """Widens both convolutions, whose outputs lie one after the other."""
    first, out1 = _conv(old.conv1, new.conv1, inputs, generator)
    second, out2 = _conv(old.conv2, new.conv2, inputs, generator)
    out = torch.cat([out1, out2 + old.conv1.out_channels])
    return [*first, *second, *_norm(old.norm, new.norm, out)], out
