"""What a mutator says about one choice block in one step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
