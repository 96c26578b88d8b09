"""MobileNetV2 and ShuffleNetV2 blocks have the published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_plugin.errors import OptionError
from nas_plugin.operations.mbconv import MBConv, Residual
from nas_plugin.operations.shuffle import ShuffleBlock
from nas_plugin.profiling import count_params


@pytest.mark.parametrize(("kernel", "expansion"), [(3, 3), (5, 6), (7, 6)])
def test_mbconv_has_the_weights_that_a_hand_count_gives(kernel: int, expansion: int) -> None:
    c_in, c_out = 16, 24
    wide = c_in * expansion
    convolutions = c_in * wide + wide * kernel**2 + wide * c_out
    norms = 2 * (wide + wide + c_out)

    assert count_params(MBConv(c_in, c_out, kernel, 2, expansion)) == convolutions + norms
    assert MBConv(c_in, c_out, kernel, 2, expansion)(torch.randn(2, 16, 8, 8)).shape == (
        2,
        24,
        4,
        4,
    )


def test_without_expansion_the_first_convolution_is_left_out() -> None:
    assert count_params(MBConv(8, 4, 3, expansion=1)) == 8 * 9 + 8 * 4 + 2 * (8 + 4)


def test_a_residual_adds_its_input() -> None:
    x = torch.randn(2, 3)

    assert torch.equal(Residual(nn.Identity())(x), x + x)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("depthwise", [1, 3])
def test_shuffle_blocks_keep_or_halve_the_image(kernel: int, depthwise: int) -> None:
    x = torch.randn(2, 8, 8, 8)

    assert ShuffleBlock(8, 8, kernel, depthwise=depthwise)(x).shape == (2, 8, 8, 8)
    assert ShuffleBlock(8, 16, kernel, 2, depthwise=depthwise)(x).shape == (2, 16, 4, 4)


def test_at_stride_one_the_even_channels_pass_by() -> None:
    x = torch.randn(2, 8, 4, 4)
    block = ShuffleBlock(8, 8)
    out = block(x)

    assert torch.equal(out[:, :4], x[:, 0::2])
    assert torch.equal(out[:, 4:], block(x)[:, 4:])


def test_shuffle_weights_equal_a_hand_count() -> None:
    # Branch 4 -> 4: two pointwise, one depthwise 5x5, three norms.
    assert count_params(ShuffleBlock(8, 8, 5)) == 16 + 4 * 25 + 16 + 3 * 8


def test_odd_channels_are_refused() -> None:
    with pytest.raises(OptionError, match="even"):
        ShuffleBlock(7, 7)
    with pytest.raises(OptionError, match="stride 1 or 2"):
        ShuffleBlock(8, 8, stride=3)
