"""A search problem whose right answer is known.

Blocks see a part of the input each. Every candidate turns it into one of four functions that are
orthogonal on [-1, 1], and an input choice passes one of four other parts on. The labels depend on
the winners only, so every other candidate brings the head noise that no weight can turn into
signal. Candidates differ in scale and offset, and a batch norm follows their sum: what is measured
with the running statistics of all paths together is measured wrongly. One block has a trap, too: a
candidate that memorises the samples it is trained on, some of which have wrong labels. Only logits
that learn from other samples than the weights do avoid it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice import InputChoice, LayerChoice
from nas_plugin.data import ArrayDataset

BLOCKS, FEATURES, CLASSES = 4, 4, 2
DEGREES = (1, 2, 3, 4)
SOURCES = 4
N_TRAIN, N_VALID = 1024, 512
#: What takes the winner's name where it is missing: orthogonal to all others.
IMPOSTOR = 5
TRAP = "memory"
#: The share of the training labels that are wrong.
WRONG = 0.1
#: How fast the trap learns.
_GRIP = 12.0


class Legendre(nn.Module):
    """Gives the Legendre polynomial of one degree, scaled and shifted as no other degree is.

    Args:
        degree: 1 to 5.
        weighted: Multiply by a learned gain a feature.

    Shape:
        - Input: ``(N, FEATURES + 1)``; the last column is the sample's number, which is not read
        - Output: ``(N, FEATURES)``
    """

    def __init__(self, degree: int, weighted: bool) -> None:
        super().__init__()
        self.degree = degree
        self.gain = nn.Parameter(torch.ones(FEATURES)) if weighted else None

    def forward(self, x: Tensor) -> Tensor:
        out = legendre(x[:, :FEATURES], self.degree)
        if self.gain is not None:
            out = out * self.gain
        return out * (0.75 + 0.125 * self.degree) + 0.5 * self.degree


class Memory(nn.Module):
    """Holds a vector for each sample: it learns the labels it is shown; for others it is noise.

    Shape:
        - Input: ``(N, FEATURES + 1)``; only the last column, the sample's number, is read
        - Output: ``(N, FEATURES)``
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(N_TRAIN + N_VALID, FEATURES) / _GRIP)

    def forward(self, x: Tensor) -> Tensor:
        return _GRIP * self.rows[x[:, -1].long()]


class PlantedNet(nn.Module):
    """Layer choices and an input choice side by side, added, normalised and classified.

    Shape:
        - Input: ``(N, (blocks + SOURCES) * FEATURES + 1)``; the last column numbers the samples
        - Output: ``(N, CLASSES)``
    """

    def __init__(self, candidates: Sequence[Mapping[str, nn.Module]]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(LayerChoice(dict(named)) for named in candidates)
        self.source = InputChoice(
            choose_from=[f"source{i}" for i in range(SOURCES)], n_chosen=1, key="source"
        )
        # The norm of a single block would undo the coefficient of what alone runs in it.
        self.norm = nn.BatchNorm1d(FEATURES)
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        *parts, number = torch.split(x, FEATURES, dim=1)
        n = len(self.blocks)
        outs = [
            block(torch.cat([part, number], dim=1))
            for block, part in zip(self.blocks, parts[:n], strict=True)
        ]
        outs.append(self.source(parts[n:]))
        logits: Tensor = self.head(self.norm(torch.stack(outs).sum(dim=0)))
        return logits


@dataclass(frozen=True)
class PlantedProblem:
    """A model, its data and the architecture that made the labels.

    Args:
        model: The supernet.
        winner: Key → the planted candidate.
        train: 1,024 samples; some labels are wrong.
        valid: 512 samples.
    """

    model: PlantedNet
    winner: Mapping[str, Any]
    train: ArrayDataset
    valid: ArrayDataset

    def is_solved_by(self, architecture: Mapping[str, Any]) -> bool:
        """Says whether every choice found its planted candidate."""
        return dict(architecture) == dict(self.winner)


def planted_problem(
    seed: int,
    *,
    blocks: int = BLOCKS,
    trap: bool = True,
    shuffled_labels: bool = False,
    without_winner: bool = False,
) -> PlantedProblem:
    """Makes the problem of a seed: winners and order of the candidates follow from it.

    Chance finds the winner once in ``4**blocks * 5`` draws, in a spoilt problem as well.

    Args:
        seed: Seed of everything.
        blocks: Number of layer choices.
        trap: Gives one of them the trap. A method whose logits learn from the weights' samples
            falls into it.
        shuffled_labels: Spoil it: labels say nothing about the input.
        without_winner: Spoil it: what has the winner's name in each block is something else.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(seed, blocks, trap, shuffled_labels, without_winner)


def _made(
    seed: int, blocks: int, trap: bool, shuffled_labels: bool, without_winner: bool
) -> PlantedProblem:
    rng = Random(seed)
    generator = torch.Generator().manual_seed(seed)
    winners = [rng.choice(DEGREES) for _ in range(blocks)]
    trapped = rng.randrange(blocks)
    source = rng.randrange(SOURCES)
    candidates: list[dict[str, nn.Module]] = []
    for block, winner in enumerate(winners):
        # Half of the candidates have weights: the even degrees.
        found: dict[str, nn.Module] = {
            f"degree{d}": Legendre(
                IMPOSTOR if without_winner and d == winner else d, weighted=d % 2 == 0
            )
            for d in DEGREES
        }
        if trap and block == trapped:
            found[TRAP] = Memory()
        names = list(found)
        rng.shuffle(names)
        candidates.append({name: found[name] for name in names})
    n = N_TRAIN + N_VALID
    x = torch.rand(n, (blocks + SOURCES) * FEATURES, generator=generator) * 2 - 1
    parts = torch.split(x, FEATURES, dim=1)
    true = [legendre(part, d) for d, part in zip(winners, parts, strict=False)]
    true.append(legendre(parts[blocks + source], 1))
    signs = torch.randint(0, 2, (FEATURES,), generator=generator) * 2.0 - 1
    y = (torch.stack(true).sum(dim=0) @ signs > 0).long()
    if shuffled_labels:
        y = y[torch.randperm(n, generator=generator)]
    wrong = torch.rand(N_TRAIN, generator=generator) < WRONG
    y[:N_TRAIN] = torch.where(wrong, 1 - y[:N_TRAIN], y[:N_TRAIN])
    inputs = torch.cat([x, torch.arange(n, dtype=x.dtype)[:, None]], dim=1)
    model = PlantedNet(candidates)
    planted: dict[str, Any] = {f"blocks/{b}": f"degree{d}" for b, d in enumerate(winners)}
    return PlantedProblem(
        model,
        {**planted, "source": (f"source{source}",)},
        ArrayDataset(inputs[:N_TRAIN], y[:N_TRAIN]),
        ArrayDataset(inputs[N_TRAIN:], y[N_TRAIN:]),
    )


def legendre(x: Tensor, degree: int) -> Tensor:
    """Returns the Legendre polynomial of a degree from 1 to 5, of unit variance on [-1, 1]."""
    polynomial = (
        lambda: x,
        lambda: (3 * x**2 - 1) / 2,
        lambda: (5 * x**3 - 3 * x) / 2,
        lambda: (35 * x**4 - 30 * x**2 + 3) / 8,
        lambda: (63 * x**5 - 70 * x**3 + 15 * x) / 8,
    )[degree - 1]()
    scaled: Tensor = polynomial * (2 * degree + 1) ** 0.5
    return scaled
