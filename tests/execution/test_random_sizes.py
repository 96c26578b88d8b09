"""Sizes, strides, subsets of candidates and missing gradients at random equal the modules."""

from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice, fan_out
from nas_plugin.contracts.executor import perturbed_decisions
from nas_plugin.execution import Dispatcher, WideExecutor
from nas_plugin.execution.verify import Scenario, differences, run
from search_spaces.darts import candidates

NAMES = tuple(candidates(2, 1, affine=False))


class Fan(nn.Module):
    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(fan_out(x, list(self.blocks)), dim=1)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    channels=st.integers(2, 70),
    height=st.integers(2, 11),
    width=st.integers(2, 11),
    batch=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    affine=st.booleans(),
    subsets=st.lists(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True),
        min_size=1, max_size=3,
    ),
    needs=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)  # fmt: skip
def test_wide_equals_the_modules_at_random_sizes(
    channels: int,
    height: int,
    width: int,
    batch: int,
    stride: int,
    affine: bool,
    subsets: list[list[str]],
    needs: tuple[bool, bool, bool, bool],
) -> None:
    if batch * -(-height // stride) * -(-width // stride) == 1:
        batch = 2  # one value per channel has no variance
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    for i, names in enumerate(subsets):
        made = candidates(channels, stride, affine=affine)
        plain = {n: op[0] if type(op) is nn.Sequential and affine else op for n, op in made.items()}
        blocks.append(LayerChoice({name: plain[name] for name in names}, key=str(i)))
    model = Fan(blocks).double()
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    training, *gradients = needs
    scenario = Scenario("random", training, *gradients)

    decisions = perturbed_decisions(model)
    eager, wide = (
        run(copy.deepcopy(model), x, decisions, dispatch, scenario)
        for dispatch in (None, Dispatcher([WideExecutor()]))
    )

    assert max(differences(eager, wide).values()) < 1e-9
