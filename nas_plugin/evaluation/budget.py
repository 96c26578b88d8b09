"""How much a search may cost."""

from __future__ import annotations

from dataclasses import dataclass

from nas_plugin.errors import OptionError


@dataclass(frozen=True)
class Budget:
    """Limits of a search; the first that is reached ends it. At least one must be given.

    Args:
        trials: Proposals, failures included.
        seconds: Wall-clock seconds, after which nothing is begun.
        simulated_seconds: The sum of ``Outcome.seconds``; an outcome that would exceed it is
            discarded, as if its training had been cut off.
    """

    trials: int | None = None
    seconds: float | None = None
    simulated_seconds: float | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None}
        if not given:
            raise OptionError(
                "A search needs a budget: Budget(trials=…), Budget(seconds=…) or "
                "Budget(simulated_seconds=…)."
            )
        for name, value in given.items():
            if not value > 0:
                raise OptionError(f"The budget's {name} must be positive, got {value}.")
