"""Two problems whose easiest answer is a wrong one: skip connections that win by being early.

The labels follow from a linear and a quadratic function of the input. A skip connection gives the
linear part from the first step on; candidates with weights can give both, and have to learn it.
In the trap ``collapse`` the blocks follow each other, and a skip connection lets the others learn;
in ``competition`` they lie side by side and nothing but the softmax makes a candidate small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset
from nas_plugin.errors import OptionError

TRAPS = ("collapse", "competition")
BLOCKS, FEATURES = 4, 8
N_TRAIN, N_VALID = 2048, 512
#: Standard deviations of a product of two features, and of a feature.
_PRODUCT, _FEATURE = 1 / 3, 3**-0.5


class Learned(nn.Module):
    """Two linear layers, the first of them followed by an activation.

    Args:
        activation: Between them.
        width: Features that come in and go out.

    Shape:
        - Input, output: ``(N, width)``
    """

    def __init__(self, activation: nn.Module, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width), activation, nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class TrapNet(nn.Module):
    """Blocks of a skip connection and two candidates with weights, in a chain or side by side.

    Args:
        side_by_side: Each block sees features of its own, and their outputs are classified
            together.
        partial: Candidates see one in this many features.

    Shape:
        - Input: ``(N, FEATURES)``, or ``(N, BLOCKS * FEATURES)`` if side by side
        - Output: ``(N, 2)``
    """

    def __init__(self, side_by_side: bool, partial: int = 1) -> None:
        super().__init__()
        self.side_by_side = side_by_side
        self.stem = nn.Identity() if side_by_side else nn.Linear(FEATURES, FEATURES)
        width = FEATURES // partial
        self.blocks = nn.ModuleList(
            LayerChoice(
                {
                    "skip": nn.Identity(),
                    "tanh": Learned(nn.Tanh(), width),
                    "relu": Learned(nn.ReLU(), width),
                },
                key=f"block{i}",
                partial=partial,
            )
            for i in range(BLOCKS)
        )
        self.head = nn.Linear(FEATURES * (BLOCKS if side_by_side else 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.side_by_side:
            parts = torch.split(x, FEATURES, dim=1)
            blocks = zip(self.blocks, parts, strict=True)
            x = torch.cat([block(part) for block, part in blocks], dim=1)
        else:
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
        logits: Tensor = self.head(x)
        return logits


@dataclass(frozen=True)
class Trap:
    """A model, its data, and what falling in means.

    Args:
        model: The supernet.
        most: Skip connections that an escaped architecture may hold.
        train: 2,048 samples.
        valid: 512 samples.
    """

    model: TrapNet
    most: int
    train: ArrayDataset
    valid: ArrayDataset

    def is_escaped_by(self, architecture: Mapping[str, Any]) -> bool:
        """Says whether enough blocks hold a candidate with weights."""
        return list(architecture.values()).count("skip") <= self.most


def trap(name: str, seed: int, *, partial: int = 1) -> Trap:
    """Makes the trap of a seed.

    Skip connections alone are a linear classifier. In ``collapse`` half of the blocks must have
    weights; in ``competition`` each block has a quadratic part of its own, and all but one must.

    Args:
        name: One of `TRAPS`.
        seed: Seed of everything.
        partial: Candidates see one in this many features.

    Raises:
        OptionError: If there is no such trap.
    """
    if name not in TRAPS:
        raise OptionError(f"A trap is one of {', '.join(TRAPS)}, got {name!r}.")
    side_by_side = name == "competition"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TrapNet(side_by_side, partial)
        width = model.head.in_features
        x = torch.rand(N_TRAIN + N_VALID, width) * 2 - 1
        slopes = torch.randn(width)
    linear = x @ slopes / slopes.norm() / _FEATURE
    quadratic = (x[:, ::2] * x[:, 1::2]).sum(dim=1) / _PRODUCT / (width / 2) ** 0.5
    # The linear part is a little larger in a chain, so that it alone is learned first.
    y = ((1.0 if side_by_side else 1.3) * linear + quadratic > 0).long()
    return Trap(
        model,
        1 if side_by_side else BLOCKS // 2,
        ArrayDataset(x[:N_TRAIN], y[:N_TRAIN]),
        ArrayDataset(x[N_TRAIN:], y[N_TRAIN:]),
    )
