"""Running means in a checkpoint: each rank's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nas_plugin.trainers.meters import Meters


@pytest.mark.parametrize(
    ("rank", "world_size", "mean"), [(0, 2, 1.0), (1, 2, 3.0), (0, 1, 2.0), (2, 4, 2.0)]
)
def test_every_rank_continues_its_own_mean(rank: int, world_size: int, mean: float) -> None:
    of_ranks = [{"loss": torch.tensor(4.0)}, {"loss": torch.tensor(12.0)}]
    state: dict[str, Any] = {"sums": of_ranks[0], "weights": {"loss": 4.0}, "ranks": of_ranks}
    meters = Meters()
    meters.load_state_dict(state, rank, world_size)

    # Of another number of ranks all begin with the mean of the means, 1 and 3.
    assert meters.means() == {"loss": mean}
