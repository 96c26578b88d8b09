"""Operations of the DARTS family against hand counts and plain arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_plugin.errors import OptionError
from nas_plugin.operations import (
    DilConv,
    DropPath,
    FactorizedReduce,
    ReLUConvBN,
    SepConv,
    Zero,
    avg_pool,
    conv_alternatives,
    max_pool,
    set_drop_path,
    skip_connect,
)
from nas_plugin.profiling import count_params

C = 6


@pytest.mark.parametrize(
    ("operation", "weights"),
    [
        (ReLUConvBN(C, 10, 3), C * 10 * 9 + 2 * 10),
        (ReLUConvBN(C, 10, affine=False), C * 10),
        (SepConv(C, 3), 2 * (9 * C + C * C + 2 * C)),
        (SepConv(C, 5, affine=False), 2 * (25 * C + C * C)),
        (DilConv(C, 3), 9 * C + C * C + 2 * C),
        (FactorizedReduce(C, 7), C * 7 + 2 * 7),
        (max_pool(C), 0),
        (skip_connect(C), 0),
        (Zero(), 0),
    ],
)
def test_weights_are_counted_by_hand(operation: nn.Module, weights: int) -> None:
    assert count_params(operation) == weights


def test_a_dilated_kernel_reaches_every_second_pixel() -> None:
    operation = DilConv(1, 3, affine=False)
    operation[3] = nn.Identity()
    for conv in (operation[1], operation[2]):
        nn.init.ones_(conv.weight)
    x = torch.zeros(1, 1, 7, 7)
    x[0, 0, 3, 3] = 1.0

    found = {(i - 3, j - 3) for i, j in operation(x)[0, 0].nonzero().tolist()}

    assert found == {(i, j) for i in (-2, 0, 2) for j in (-2, 0, 2)}


@pytest.mark.parametrize("size", [6, 7])
def test_a_factorized_reduction_reads_all_pixels(size: int) -> None:
    operation = FactorizedReduce(1, 2)
    for conv in (operation.conv1, operation.conv2):
        nn.init.ones_(conv.weight)
    operation.norm = nn.Identity()
    x = torch.arange(1.0, size * size + 1).reshape(1, 1, size, size)
    out = operation(x)[0]

    assert torch.equal(out[0], x[0, 0, ::2, ::2])
    odd = x[0, 0, 1::2, 1::2]
    assert torch.equal(out[1, : odd.shape[0], : odd.shape[1]], odd)
    assert out.shape == (2, -(-size // 2), -(-size // 2))


def test_pools_in_the_search_are_followed_by_a_norm_without_weights() -> None:
    x = torch.randn(4, C, 6, 6)
    plain = max_pool(C, norm=False)(x)
    normed = max_pool(C)(x)

    mean, var = plain.mean(dim=(0, 2, 3)), plain.var(dim=(0, 2, 3), unbiased=False)
    expected = (plain - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    assert torch.allclose(normed, expected, atol=1e-5)


def test_average_pooling_does_not_count_the_padding() -> None:
    ones = torch.ones(1, 1, 4, 4)

    assert torch.equal(avg_pool(1, norm=False)(ones), ones)


@pytest.mark.parametrize(("stride", "half"), [(1, 5), (2, 3)])
def test_zero_is_zero_even_of_infinity(stride: int, half: int) -> None:
    x = torch.full((2, C, 5, 5), float("inf"))
    mix = torch.tensor(0.3, requires_grad=True)
    out = mix * Zero(stride)(x)

    assert torch.equal(out, torch.zeros(2, C, half, half))
    out.sum().backward()
    assert mix.grad == 0


def test_zero_is_kept_only_where_asked() -> None:
    assert Zero().never_kept and not Zero(keep=True).never_kept


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 2)
    out = DropPath(0.25)(x)

    assert out.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(out.amin(dim=(1, 2)), out.amax(dim=(1, 2)))
    # Five standard errors: sqrt(p / (1 - p) / n) = 0.009.
    assert out.mean() == pytest.approx(1.0, abs=0.046)


def test_drop_path_follows_the_global_generator_that_checkpoints_hold() -> None:
    drop, x = DropPath(0.5), torch.ones(64, 1)
    state = torch.get_rng_state()
    first = drop(x)
    torch.set_rng_state(state)

    assert torch.equal(drop(x), first)


def test_drop_path_does_nothing_in_evaluation_or_at_zero() -> None:
    x = torch.randn(3, 2)

    assert DropPath(0.0)(x) is x
    assert DropPath(0.9).eval()(x) is x


def test_one_call_sets_drop_path_everywhere() -> None:
    model = nn.Sequential(DropPath(), nn.Sequential(nn.ReLU(), DropPath(0.3)))
    set_drop_path(model, 0.2)

    assert [m.p for m in model.modules() if isinstance(m, DropPath)] == [0.2, 0.2]
    for wrong in (1.0, -0.1, float("nan")):
        with pytest.raises(OptionError, match=r"lies in \[0, 1\)"):
            set_drop_path(model, wrong)


def test_alternatives_of_a_convolution_keep_its_shape_and_type() -> None:
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1).double()
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    found = conv_alternatives(conv, (1, 3, 5))

    assert list(found) == ["conv1x1", "sepconv3x3", "conv5x5", "sepconv5x5"]
    assert all(other(x).shape == conv(x).shape for other in found.values())
    grouped = nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False)
    assert [(n, o.groups, o.bias) for n, o in conv_alternatives(grouped, (5,)).items()] == [
        ("conv5x5", 4, None)
    ]


@pytest.mark.parametrize(
    ("layer", "kernels", "message"),
    [
        (nn.Linear(2, 2), (3,), "takes an nn.Conv2d, got a Linear"),
        (nn.ConvTranspose2d(2, 2, 3), (3,), "got a ConvTranspose2d"),
        (nn.Conv2d(2, 2, 3, padding=1), (4,), "must be odd"),
        (nn.Conv2d(2, 2, 3), (5,), "changes the size beyond its stride"),
        (nn.Conv2d(2, 2, 3, padding=1, dilation=2), (5,), "changes the size beyond its stride"),
    ],
)
def test_layers_without_alternatives_are_refused(
    layer: nn.Module, kernels: tuple[int, ...], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        conv_alternatives(layer, kernels)
