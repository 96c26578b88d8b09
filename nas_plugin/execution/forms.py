"""The forms of candidates that executors know, recognised by type and structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from nas_plugin.operations import DilConv, FactorizedReduce, ReLUConvBN, SepConv, Zero

Kind = Literal[
    "zero",
    "identity",
    "max_pool",
    "avg_pool",
    "separable",
    "relu_conv_norm",
    "conv_norm_relu",
    "reduce",
    "conv",
]

#: Containers whose forward runs their children in a row.
CHAINS = (nn.Sequential, DilConv, SepConv, ReLUConvBN)


@dataclass(frozen=True)
class Norm:
    """How the batch norms of a candidate behave, all of them alike.

    Args:
        batch: They use the statistics of the batch, not the running ones.
        updates: They move the running statistics and count batches.
        momentum: Weight of the new statistics.
        eps: Added to variances.
        affine: They scale and shift.
    """

    batch: bool
    updates: bool
    momentum: float
    eps: float
    affine: bool


@dataclass(frozen=True)
class Form:
    """What a candidate computes, apart from its weights.

    Convolutions and pooling keep the size of their input, divided by the stride and rounded up.
    Separable convolutions are steps of ReLU, depthwise and pointwise convolution and batch norm;
    only the first has the stride. A factorised reduction has stride 2.

    Args:
        kind: Which computation.
        c_in: Channels of the input; None where any number goes through.
        c_out: Channels of the output; None where they are those of the input.
        kernel: Side of the (depthwise) kernel or the pooling window.
        stride: Stride of the candidate as a whole.
        dilation: Dilation of the (depthwise) kernel.
        steps: Separable steps in a row.
        counts_padding: Average pooling divides by the whole window at the border too.
        bias: The bare convolution has a bias.
        norm: Of the batch norms; None if there is none.
    """

    kind: Kind
    c_in: int | None = None
    c_out: int | None = None
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    steps: int = 1
    counts_padding: bool = False
    bias: bool = False
    norm: Norm | None = None


@dataclass(frozen=True, eq=False)
class Recognised:
    """A candidate's form and the modules that own its tensors, in the order in which they run.

    A separable step has two convolutions (depthwise, pointwise) and one norm; a factorised
    reduction has two convolutions, that of the unshifted pixels first, and one norm.
    """

    form: Form
    convs: tuple[nn.Conv2d, ...] = ()
    norms: tuple[nn.BatchNorm2d, ...] = ()


class _FormError(Exception):
    """Why a module has no known form."""


def recognise(module: nn.Module) -> Recognised | str:
    """Returns a module's form, or why it has none that is known.

    The form holds in the mode in which the module's batch norms are now.
    """
    try:
        return _recognised(module)
    except _FormError as reason:
        return str(reason)


def _recognised(module: nn.Module) -> Recognised:
    if type(module) is Zero:
        return Recognised(Form("zero", stride=module.stride))
    if type(module) is FactorizedReduce:
        return _reduce(module)
    leaves = list(_leaves(module))
    kinds = [type(leaf) for leaf in leaves]
    if not leaves:
        return Recognised(Form("identity"))
    if kinds == [nn.Conv2d]:
        conv = _same_size(leaves[0])
        return Recognised(_conv_form("conv", conv, conv.bias is not None, None), (conv,))
    if kinds[0] in (nn.MaxPool2d, nn.AvgPool2d) and kinds[1:] in ([], [nn.BatchNorm2d]):
        return _pool(leaves)
    if kinds == [nn.ReLU, nn.Conv2d, nn.BatchNorm2d]:
        return _conv_norm("relu_conv_norm", leaves[1], leaves[2])
    if kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]:
        return _conv_norm("conv_norm_relu", leaves[0], leaves[1])
    step = [nn.ReLU, nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]
    if len(kinds) % 4 == 0 and kinds == step * (len(kinds) // 4):
        return _separable(leaves)
    raise _FormError(f"has no known form ({_said(module, kinds)})")


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Yields what runs in a row inside `module`, which may be a container or a leaf."""
    if type(module) in CHAINS or _is_plain_chain(module):
        # Not children(), which leaves out what stands there a second time.
        for child in module._modules.values():
            if child is not None:
                yield from _leaves(child)
    elif type(module) is not nn.Identity:
        yield module


def _is_plain_chain(module: nn.Module) -> bool:
    """Says whether a user's subclass of Sequential runs as Sequential does."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _reduce(module: FactorizedReduce) -> Recognised:
    first, second, norm = module.conv1, module.conv2, module.norm
    kinds = [type(part) for part in (module.relu, first, second, norm)]
    if kinds != [nn.ReLU, nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]:
        raise _FormError(f"is a factorised reduction of other parts ({_said(module, kinds)})")
    for conv in (first, second):
        stride = (2 // module.step, 2 // module.step)
        plain = _plain_conv(conv) and conv.padding == (0, 0) and conv.dilation == (1, 1)
        if not plain or conv.kernel_size != (1, 1) or conv.stride != stride:
            raise _FormError("is a factorised reduction of other convolutions")
        if conv.bias is not None or conv.groups != 1 or conv.in_channels != first.in_channels:
            raise _FormError("is a factorised reduction of other convolutions")
    c_out = first.out_channels + second.out_channels
    form = Form("reduce", first.in_channels, c_out, stride=2, norm=_norm([norm], [c_out]))
    return Recognised(form, (first, second), (norm,))


def _pool(leaves: Sequence[nn.Module]) -> Recognised:
    pool, norms = leaves[0], leaves[1:]
    assert isinstance(pool, (nn.MaxPool2d, nn.AvgPool2d))
    kernel, padding = _one(pool.kernel_size), _one(pool.padding)
    stride = _one(pool.stride)
    if kernel is None or stride is None or kernel % 2 == 0 or padding != kernel // 2:
        raise _FormError("pools windows of an even side, or pads by another amount than half")
    if pool.ceil_mode:
        raise _FormError("pools in ceil_mode")
    counts = False
    if isinstance(pool, nn.MaxPool2d):
        if _one(pool.dilation) != 1 or pool.return_indices:
            raise _FormError("pools with dilation or returns indices")
    else:
        if pool.divisor_override is not None:
            raise _FormError("pools with a divisor of its own")
        counts = pool.count_include_pad
    kind: Kind = "max_pool" if isinstance(pool, nn.MaxPool2d) else "avg_pool"
    found = tuple(norm for norm in norms if isinstance(norm, nn.BatchNorm2d))
    channels = found[0].num_features if found else None
    form = Form(
        kind, channels, channels, kernel, stride, counts_padding=counts,
        norm=_norm(found, [channels] * len(found)),
    )  # fmt: skip
    return Recognised(form, norms=found)


def _separable(leaves: Sequence[nn.Module]) -> Recognised:
    convs: list[nn.Conv2d] = []
    norms: list[nn.BatchNorm2d] = []
    for start in range(0, len(leaves), 4):
        _, depthwise, pointwise, norm = leaves[start : start + 4]
        assert isinstance(norm, nn.BatchNorm2d)
        depthwise, pointwise = _same_size(depthwise), _same_size(pointwise)
        if depthwise.groups != depthwise.in_channels or (
            depthwise.out_channels != depthwise.in_channels
        ):
            raise _FormError("has a first convolution that is not depthwise")
        if pointwise.kernel_size != (1, 1) or pointwise.stride != (1, 1) or pointwise.groups != 1:
            raise _FormError("has a second convolution that is not pointwise")
        if depthwise.bias is not None or pointwise.bias is not None:
            raise _FormError("has convolutions with a bias before a batch norm")
        if start > 0 and depthwise.stride != (1, 1):
            raise _FormError("has a stride in a later step")
        convs += [depthwise, pointwise]
        norms.append(norm)
    first = convs[0]
    for later in convs[2::2]:
        if later.kernel_size != first.kernel_size or later.dilation != first.dilation:
            raise _FormError("has steps of different kernels")
    form = Form(
        "separable", first.in_channels, convs[-1].out_channels, first.kernel_size[0],
        first.stride[0], first.dilation[0], len(norms),
        norm=_norm(norms, [conv.out_channels for conv in convs[1::2]]),
    )  # fmt: skip
    return Recognised(form, tuple(convs), tuple(norms))


def _conv_norm(kind: Kind, conv: nn.Module, norm: nn.Module) -> Recognised:
    conv = _same_size(conv)
    assert isinstance(norm, nn.BatchNorm2d)
    if conv.bias is not None:
        raise _FormError("has a convolution with a bias before a batch norm")
    form = _conv_form(kind, conv, False, _norm([norm], [conv.out_channels]))
    return Recognised(form, (conv,), (norm,))


def _conv_form(kind: Kind, conv: nn.Conv2d, bias: bool, norm: Norm | None) -> Form:
    if conv.groups != 1:
        raise _FormError("has a grouped convolution")
    return Form(
        kind, conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0],
        conv.dilation[0], bias=bias, norm=norm,
    )  # fmt: skip


def _same_size(conv: nn.Module) -> nn.Conv2d:
    """Returns a square convolution that pads so that only its stride changes the size."""
    assert isinstance(conv, nn.Conv2d)
    kernel, dilation = conv.kernel_size[0], conv.dilation[0]
    square = all(a == b for a, b in (conv.kernel_size, conv.stride, conv.dilation))
    if not square or kernel % 2 == 0 or not _plain_conv(conv):
        raise _FormError("has a convolution that is not square and odd, or pads otherwise")
    padding = dilation * (kernel // 2)
    if conv.padding != (padding, padding):
        raise _FormError(
            f"has a {kernel}x{kernel} convolution that does not pad by {padding}, so that it "
            "changes the size"
        )
    return conv


def _plain_conv(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _norm(norms: Sequence[nn.BatchNorm2d], channels: Sequence[int | None]) -> Norm | None:
    """Returns how norms behave that all behave alike."""
    if len({id(norm) for norm in norms}) < len(norms):
        raise _FormError("runs one batch norm twice")
    modes = set()
    for norm, expected in zip(norms, channels, strict=True):
        if norm.num_features != expected:
            raise _FormError(f"has a batch norm of {norm.num_features} channels, not {expected}")
        modes.add(_mode(norm))
    if len(modes) > 1:
        raise _FormError("has batch norms in different modes")
    return modes.pop() if modes else None


def _mode(norm: nn.BatchNorm2d) -> Norm:
    kept = norm.running_mean is not None and norm.running_var is not None
    batch = norm.training or not kept
    updates = norm.training and norm.track_running_stats and kept
    if updates and norm.momentum is None:
        raise _FormError("has a batch norm with momentum=None, a plain mean of all batches")
    # Where nothing is updated the momentum does not count.
    momentum = float(norm.momentum) if updates and norm.momentum is not None else 0.0
    return Norm(batch, updates, momentum, norm.eps, norm.affine)


def _one(size: int | tuple[int, ...]) -> int | None:
    """Returns the one size of a square, None if it is none."""
    if isinstance(size, int):
        return size
    return size[0] if len(set(size)) == 1 else None


def _said(module: nn.Module, kinds: Sequence[type[nn.Module]]) -> str:
    names = ", ".join(kind.__name__ for kind in kinds[:6])
    return f"{type(module).__name__}: {names}{', …' if len(kinds) > 6 else ''}"
