"""A search problem whose right answer is known.

Four blocks see a part of the input each. Every candidate turns it into one of four functions that
are orthogonal on [-1, 1]; the labels depend on the winner's function only, so every other candidate
brings the head noise that no weight can turn into signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice import LayerChoice
from nas_plugin.data import ArrayDataset

BLOCKS, FEATURES, CLASSES = 4, 4, 2
DEGREES = (1, 2, 3, 4)


class Legendre(nn.Module):
    """Gives the Legendre polynomial of one degree, scaled to unit variance on [-1, 1].

    Args:
        degree: 1 to 4.
        weighted: Multiply by a learned gain a feature.

    Shape:
        - Input, output: ``(N, FEATURES)``
    """

    def __init__(self, degree: int, weighted: bool) -> None:
        super().__init__()
        self.degree = degree
        self.gain = nn.Parameter(torch.ones(FEATURES)) if weighted else None

    def forward(self, x: Tensor) -> Tensor:
        polynomials: tuple[Tensor, ...] = (
            x,
            (3 * x**2 - 1) / 2,
            (5 * x**3 - 3 * x) / 2,
            (35 * x**4 - 30 * x**2 + 3) / 8,
        )
        polynomial = polynomials[self.degree - 1]
        out: Tensor = polynomial * (2 * self.degree + 1) ** 0.5
        return out if self.gain is None else out * self.gain


class PlantedNet(nn.Module):
    """Four layer choices side by side under one linear head.

    Shape:
        - Input: ``(N, BLOCKS * FEATURES)``
        - Output: ``(N, CLASSES)``
    """

    def __init__(self, names: Mapping[int, Mapping[str, int]]) -> None:
        super().__init__()
        # Half of the candidates have weights: the even degrees.
        self.blocks = nn.ModuleList(
            LayerChoice({name: Legendre(d, weighted=d % 2 == 0) for name, d in candidates.items()})
            for candidates in names.values()
        )
        self.head = nn.Linear(BLOCKS * FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(BLOCKS, dim=1)
        outs = [block(part) for block, part in zip(self.blocks, parts, strict=True)]
        logits: Tensor = self.head(torch.cat(outs, dim=1))
        return logits


@dataclass(frozen=True)
class PlantedProblem:
    """A model, its data and the architecture that made the labels.

    Args:
        model: The supernet; chance finds the winner once in 256 draws.
        winner: Key → the planted candidate.
        train: 1,024 samples.
        valid: 512 samples.
    """

    model: PlantedNet
    winner: Mapping[str, str]
    train: ArrayDataset
    valid: ArrayDataset

    def is_solved_by(self, architecture: Mapping[str, Any]) -> bool:
        """Says whether every block found its planted candidate."""
        return dict(architecture) == dict(self.winner)


def planted_problem(
    seed: int, *, shuffled_labels: bool = False, without_winner: bool = False
) -> PlantedProblem:
    """Makes the problem of a seed: winner and order of the candidates follow from it.

    Args:
        seed: Of everything.
        shuffled_labels: Spoil it: labels say nothing about the input.
        without_winner: Spoil it: the winner is not among the candidates.
    """
    rng = Random(seed)
    generator = torch.Generator().manual_seed(seed)
    winners = [rng.choice(DEGREES) for _ in range(BLOCKS)]
    names: dict[int, dict[str, int]] = {}
    for block, winner in enumerate(winners):
        degrees = [d for d in DEGREES if not (without_winner and d == winner)]
        rng.shuffle(degrees)
        names[block] = {f"degree{d}": d for d in degrees}
    n_train, n_valid = 1024, 512
    x = torch.rand(n_train + n_valid, BLOCKS * FEATURES, generator=generator) * 2 - 1
    parts = x.chunk(BLOCKS, dim=1)
    signs = torch.randint(0, 2, (BLOCKS * FEATURES,), generator=generator) * 2.0 - 1
    true = [Legendre(d, weighted=False)(part) for d, part in zip(winners, parts, strict=True)]
    y = (torch.cat(true, dim=1) @ signs > 0).long()
    if shuffled_labels:
        y = y[torch.randperm(len(y), generator=generator)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PlantedNet(names)
    return PlantedProblem(
        model,
        {f"blocks/{block}": f"degree{d}" for block, d in enumerate(winners)},
        ArrayDataset(x[:n_train], y[:n_train]),
        ArrayDataset(x[n_train:], y[n_train:]),
    )
