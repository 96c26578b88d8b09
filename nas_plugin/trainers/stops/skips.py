"""DARTS+: a search ends when skip connections take over, or when nothing changes any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.space.skips import counted_keys, skip_names, skips_in
from nas_plugin.trainers.perturbations import parameter_free
from nas_plugin.trainers.stops.stop import Stop, stops


@stops.register("skips")
class SkipStop(Stop):
    """Ends a search when the architecture of a normal cell holds too many skip connections.

    Args:
        limit: Skip connections at which it ends.
        skips: Names of the candidates that count; None: the usual names of skip connections.
        prefix: The beginning of the keys that count; None: those of normal cells, or all in a
            space without them.
        back: Epochs to go back; 1 is the last architecture below the limit.

    Raises:
        OptionError: If an argument is not allowed, or the space has no such candidate or key.

    References:
        Liang et al. 2019, criterion 1, https://arxiv.org/abs/1909.06035
    """

    def __init__(
        self,
        *,
        limit: int = 2,
        skips: Sequence[str] | None = None,
        prefix: str | None = None,
        back: int = 0,
    ) -> None:
        super().__init__(back=back)
        if limit < 1:
            raise OptionError(f"limit must be at least 1, got {limit}.")
        self.limit, self.skips, self.prefix = limit, skips, prefix

    def build(self, trainer: Any) -> None:
        super().build(trainer)
        space = self.trainer.mutator.space
        self._keys = counted_keys(space, self.prefix)
        self._names = skip_names(space, self.skips)

    def reason(self, epoch: int) -> str | None:
        found = skips_in(self.trainer.mutator.export(), self._keys, self._names)
        if len(found) < self.limit:
            return None
        return f"{len(found)} skip connections, at {', '.join(found)}"


@stops.register("ranking")
class RankingStop(Stop):
    """Ends a search when the ranking of candidates with weights stays for some epochs.

    Args:
        epochs: Consecutive epochs with equal rankings at every choice that counts.
        prefix: The beginning of the keys that count; None: those of normal cells, or all in a
            space without them.
        back: Epochs to go back.

    Raises:
        OptionError: If an argument is not allowed, or no candidate that counts has weights.

    References:
        Liang et al. 2019, criterion 1*, https://arxiv.org/abs/1909.06035
    """

    def __init__(self, *, epochs: int = 10, prefix: str | None = None, back: int = 0) -> None:
        super().__init__(back=back)
        if epochs < 2:
            raise OptionError(f"epochs must be at least 2, got {epochs}.")
        self.epochs, self.prefix = epochs, prefix
        self._ranking: list[list[str]] = []
        self._alike = 0

    def build(self, trainer: Any) -> None:
        super().build(trainer)
        space = self.trainer.mutator.space
        free = parameter_free(self.trainer.model)
        self._learned = {
            key: [str(c) for i, c in enumerate(space[key].candidates) if i not in free.get(key, ())]
            for key in counted_keys(space, self.prefix)
        }
        if not any(len(names) > 1 for names in self._learned.values()):
            raise OptionError(
                "RankingStop ranks candidates with weights, and no choice that counts has two."
            )

    def on_rebuild(self) -> None:
        self._ranking, self._alike = [], 0
        super().on_rebuild()

    def reason(self, epoch: int) -> str | None:
        status = self.trainer.mutator.status()
        ranking = [
            sorted(names, key=lambda name, key=key: -status[key][name])  # type: ignore[misc]
            for key, names in self._learned.items()
        ]
        self._alike = self._alike + 1 if ranking == self._ranking else 1
        self._ranking = ranking
        if self._alike < self.epochs:
            return None
        return f"the ranking of candidates is the same for {self.epochs} epochs"

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "ranking": self._ranking, "alike": self._alike}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._ranking, self._alike = state["ranking"], state["alike"]
