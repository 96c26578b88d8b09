"""The four spaces of RobustDARTS: cells of DARTS with two or three candidates per edge.

Plain DARTS degenerates in all of them. Zela et al. 2020, https://arxiv.org/abs/1909.09656; the
candidates of S1 are those of the authors' code, https://github.com/automl/RobustDARTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from search_spaces.darts import DartsNet, Edges

_SHORT = {
    "skip": "skipconnect", "max": "maxpool", "avg": "avgpool", "sep3": "sepconv3x3",
    "dil3": "dilconv3x3", "dil5": "dilconv5x5",
}  # fmt: skip

#: The two candidates of every edge of S1, node by node, source by source.
S1 = {
    "normal": (
        "skip-dil3 skip-dil5",
        "skip-dil5 skip-sep3 skip-dil3",
        "max-skip skip-sep3 skip-sep3 skip-dil3",
        "skip-sep3 max-skip skip-dil3 dil3-dil5 dil3-dil5",
    ),
    "reduce": (
        "max-avg max-dil3",
        "max-avg max-avg skip-dil5",
        "max-avg max-sep3 skip-dil3 skip-dil5",
        "max-avg max-avg skip-dil5 skip-dil5 skip-dil5",
    ),
}
S2 = ("skipconnect", "sepconv3x3")
S3 = ("none", "skipconnect", "sepconv3x3")
S4 = ("noise", "sepconv3x3")


class SpaceBuilder(Protocol):
    """Makes the network of one space."""

    def __call__(
        self,
        *,
        channels: int = 16,
        layers: int = 8,
        classes: int = 10,
        in_channels: int = 3,
        partial: int = 1,
        retrain: bool = False,
        auxiliary: bool = False,
    ) -> DartsNet: ...


def _builder(edges: Edges) -> SpaceBuilder:
    def build(
        *,
        channels: int = 16,
        layers: int = 8,
        classes: int = 10,
        in_channels: int = 3,
        partial: int = 1,
        retrain: bool = False,
        auxiliary: bool = False,
    ) -> DartsNet:
        """Returns the network of a space.

        Args:
            channels: Of each node of the first cells.
            layers: Cells.
            classes: Outputs.
            in_channels: Of the images.
            partial: Candidates see one in this many channels.
            retrain: The network to which an architecture is fixed: batch norms with weights.
            auxiliary: A second classifier behind the second reduction.
        """
        return DartsNet(
            channels, layers, 4, classes, in_channels, 3,
            affine=retrain, auxiliary=auxiliary, edges=edges, partial=partial,
        )  # fmt: skip

    return build


def _s1(kind: str, node: int, source: int) -> Sequence[str]:
    return [_SHORT[name] for name in S1[kind][node - 2].split()[source].split("-")]


#: On every edge the two operations that DARTS ranked best.
darts_s1 = _builder(_s1)
#: Skip connection or separable convolution.
darts_s2 = _builder(lambda *_: S2)
#: S2 and ``none``, which no architecture holds.
darts_s3 = _builder(lambda *_: S3)
#: Noise or separable convolution.
darts_s4 = _builder(lambda *_: S4)
