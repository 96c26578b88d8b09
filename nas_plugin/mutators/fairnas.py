"""FairNAS: strictly fair paths, every candidate equally often."""

from __future__ import annotations

from random import Random
from typing import Any

from torch import nn

from nas_plugin.choice.decision import Decision
from nas_plugin.mutators.random import RandomMutator
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice, Value
from nas_plugin.space.decide import decisions_of


class FairNasMutator(RandomMutator, name="fairnas"):
    """Deals K paths a step so that each of a choice's K candidates is in exactly one of them.

    Every choice of one candidate has a shuffled deck, dealt anew every K paths; the gradients of
    the K paths make up one step (`paths_per_step`). A choice of fewer candidates than the largest
    deals its deck again within the step, so its counts differ by one at most. Choices of several
    inputs are drawn uniformly.

    References:
        Chu et al. 2019, https://arxiv.org/abs/1907.01845
    """

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        super().__init__(model, seed=seed)
        dealt = [choice for choice in self.space.values() if _is_dealt(choice)]
        self.paths_per_step = max((len(choice.options) for choice in dealt), default=1)
        self._left = 0
        self._decks: dict[str, list[int]] = {}

    def sample_search(self) -> dict[str, Decision]:
        if self._left == 0:
            self._left = self.paths_per_step
            self._decks = {}
        self._left -= 1
        rng = self._rng()
        chosen: dict[str, Value] = {}
        for choice in self.space.order:
            if choice.is_active(chosen):
                chosen[choice.key] = self._deal(choice, rng)
        return decisions_of(self.space, Architecture(chosen))

    def get_extra_state(self) -> dict[str, Any]:
        decks = {key: list(deck) for key, deck in self._decks.items()}
        return {**super().get_extra_state(), "left": self._left, "decks": decks}

    def set_extra_state(self, state: Any) -> None:
        super().set_extra_state(state)
        self._left = state["left"]
        self._decks = {key: list(deck) for key, deck in state["decks"].items()}

    def _deal(self, choice: Choice, rng: Random) -> Value:
        if not _is_dealt(choice):
            return choice.sample(rng)
        if not self._decks.get(choice.key):
            deck = list(range(len(choice.options)))
            rng.shuffle(deck)
            self._decks[choice.key] = deck
        option = choice.options[self._decks[choice.key].pop()]
        return (option,) if choice.kind == "input" else option


def _is_dealt(choice: Choice) -> bool:
    return choice.kind != "input" or choice.n_chosen == 1
