"""Parameters and operations against counts by hand."""

from __future__ import annotations

import torch
from torch import nn

from nas_plugin.profiling import Profile, count_flops, count_params, profile


def test_a_convolution_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    # Every output pixel takes 3 * 3 * 3 multiply-adds a channel; the bias is not counted.
    macs = 8 * 5 * 4 * 3 * 9

    assert profile(conv, (3, 10, 8)) == Profile(params=3 * 8 * 9 + 8, flops=2 * macs)
    assert profile(conv, (3, 10, 8)).macs == macs


def test_groups_divide_the_work() -> None:
    assert profile(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False), (8, 6, 6)) == Profile(
        params=8 * 25, flops=2 * 8 * 36 * 25
    )


def test_a_perceptron_by_hand_and_activations_are_free() -> None:
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.BatchNorm1d(7), nn.Linear(7, 2))

    assert profile(net, (5,)) == Profile(
        params=5 * 7 + 7 + 14 + 7 * 2 + 2, flops=2 * (5 * 7 + 7 * 2)
    )


def test_shared_parameters_count_once_and_their_work_twice() -> None:
    layer = nn.Linear(4, 4, bias=False)
    net = nn.Sequential(layer, layer)

    assert count_params(net) == 16
    assert count_flops(net, torch.zeros(3, 4)) == 2 * 2 * 3 * 16


def test_nothing_is_computed_on_the_meta_device() -> None:
    # A layer of a terabyte, which no machine here could hold.
    with torch.device("meta"):
        huge = nn.Linear(2**19, 2**19, bias=False)

    assert profile(huge, (2**19,)) == Profile(params=2**38, flops=2**39)


def test_modes_and_statistics_stay_as_they_were() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    net[0].eval()
    profile(net, (2,))

    assert [m.training for m in net.modules()] == [True, False, True]
    assert net[0].num_batches_tracked == 0


def test_a_profile_says_what_it_counts() -> None:
    assert str(Profile(1000, 4000)) == "1,000 parameters, 4,000 FLOPs (2,000 multiply-adds)"
