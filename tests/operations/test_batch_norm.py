"""Batch norms of a supernet against means and variances by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas_plugin.operations.batch_norm import (
    batch_statistics,
    kept_statistics,
    recalibrate,
)


@pytest.fixture
def net() -> nn.Sequential:
    """A batch norm whose running statistics are those of something else."""
    made = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).double()
    with torch.no_grad():
        made[0].running_mean.fill_(70.0)
        made[0].running_var.fill_(9.0)
        made[0].num_batches_tracked.fill_(40)
    return made.eval()


@pytest.fixture
def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, generator=generator, dtype=torch.float64) * n for n in (4, 9, 5)]


def test_recalibrated_statistics_are_plain_means_over_the_batches(
    net: nn.Sequential, batches: list[Tensor]
) -> None:
    recalibrate(net, batches)
    means = torch.stack([batch.mean(0) for batch in batches]).mean(0)
    variances = torch.stack([batch.var(0, unbiased=True) for batch in batches]).mean(0)

    torch.testing.assert_close(net[0].running_mean, means)
    torch.testing.assert_close(net[0].running_var, variances)
    assert net[0].momentum == 0.1
    assert not any(module.training for module in net.modules())


def test_recalibration_comes_back_to_the_mode_after_an_error(net: nn.Sequential) -> None:
    with pytest.raises(ValueError, match="expected"):
        recalibrate(net, [torch.ones(2, dtype=torch.float64)])

    assert net[0].momentum == 0.1 and not net[0].training


def test_batch_statistics_are_the_batchs_own_and_leave_no_trace(
    net: nn.Sequential, batches: list[Tensor]
) -> None:
    x = batches[0]
    with batch_statistics(net):
        out = net(x)
    expected = (x - x.mean(0)) / (x.var(0, unbiased=False) + net[0].eps).sqrt()

    torch.testing.assert_close(out, expected)
    assert (net[0].running_mean == 70).all() and (net[0].running_var == 9).all()
    assert net[0].num_batches_tracked == 40
    assert not net[0].training and net[0].track_running_stats


def test_kept_statistics_are_restored_whatever_happens(
    net: nn.Sequential, batches: list[Tensor]
) -> None:
    net.train()
    with pytest.raises(RuntimeError), kept_statistics(net):
        net(batches[0])
        assert (net[0].running_mean != 70).all()
        raise RuntimeError

    assert (net[0].running_mean == 70).all() and (net[0].running_var == 9).all()
    assert net[0].num_batches_tracked == 40
