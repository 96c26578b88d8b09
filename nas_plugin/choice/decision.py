"""What a mutator says about one choice block in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True, eq=False, slots=True)
class Decision:
    """The coefficients of K candidates and which of them must run.

    Args:
        mix: ``(K,)``, in the order of the candidates; None selects `active` as they are, so that
            a block costs what the chosen candidates cost. The coefficients need not sum to 1.
        active: Indices of the candidates that run, ascending.
        watched: Those of `active` whose coefficient is zero and that run only for the sake of its
            gradient: nothing is kept for a gradient through the candidate itself.
        offset: A number that a layer choice adds to its output; None adds nothing.
    """

    mix: Tensor | None
    active: tuple[int, ...]
    watched: tuple[int, ...] = ()
    offset: Tensor | None = None


class Dispatch(Protocol):
    """Computes a `fan_out`."""

    def __call__(self, x: Tensor, blocks: Sequence[nn.Module], /) -> list[Any]: ...

    def forget(self) -> None:
        """Drops what was remembered about blocks: they may have been edited, or are gone."""


class Decides(Protocol):
    """What a block knows of what decides it; `nas_plugin.choice.Binding` is one.

    Attributes:
        owner: Who decides, as errors call it.
        decisions: Key → this step's decision.
        dispatch: Computes `fan_out` faster; None runs block by block.
    """

    owner: str
    decisions: Mapping[str, Decision]
    dispatch: Dispatch | None

    def forget(self) -> None:
        """Drops what the dispatcher remembers about blocks."""
