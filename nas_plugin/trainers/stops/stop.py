"""What all stops share: the logits of the last epochs, to which a search may go back."""

from __future__ import annotations

import copy
from typing import Any

from nas_plugin.errors import OptionError
from nas_plugin.registry import Registry
from nas_plugin.trainers.callbacks import Callback, require_architecture
from nas_plugin.trainers.search_trainer import SearchTrainer

stops: Registry[type[Callback]] = Registry("stop", package="nas_plugin.trainers.stops")


class Stop(Callback):
    """Ends a search after the epoch in which `reason` gives one.

    The mutator then goes back to its state after an earlier epoch; the weights stay as they are.
    Epochs in which logits do not learn yet do not count.

    Args:
        back: Epochs to go back.

    Raises:
        OptionError: If `back` is negative, or the trainer does not search.
    """

    trainer: SearchTrainer

    def __init__(self, *, back: int = 0) -> None:
        if back < 0:
            raise OptionError(f"back must not be negative, got {back}.")
        self.back = back
        self._states: list[dict[str, Any]] = []

    def build(self, trainer: Any) -> None:
        if not isinstance(trainer, SearchTrainer):
            raise OptionError(
                f"{type(self).__name__} ends a search; {type(trainer).__name__} does not search."
            )
        require_architecture(self, trainer)
        super().build(trainer)

    def on_rebuild(self) -> None:
        # The logits of the stage before do not fit its successor's mutator.
        self._states = []
        self.build(self.trainer)

    def reason(self, epoch: int) -> str | None:
        """Returns why the search ends after this epoch, or None."""
        raise NotImplementedError(f"{type(self).__name__} must say when it stops")

    def on_epoch_end(self, epoch: int) -> None:
        # Logits that do not learn yet rank as they began; and of two stops the first one decides.
        if not self.trainer.trains_logits or self.trainer.stopped is not None:
            return
        mutator = self.trainer.mutator
        state = copy.deepcopy(dict(mutator.state_dict()))
        self._states = [*self._states, state][-1 - self.back :]
        found = self.reason(epoch)
        if found is None:
            return
        back = min(self.back, len(self._states) - 1)
        mutator.load_state_dict(self._states[-1 - back])
        values = {"by": type(self).__name__, "reason": found, "logits_of_epoch": epoch - back}
        self.trainer.record("stop", values)
        self.trainer.stop(found)

    def state_dict(self) -> dict[str, Any]:
        return {"states": self._states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._states = list(state["states"])
