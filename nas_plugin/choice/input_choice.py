"""Some of several inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas_plugin.choice.block import ChoiceBlock, check_reduction, mask_of, reduce_chosen
from nas_plugin.errors import ChoiceError


class InputChoice(ChoiceBlock):
    """Chooses `n_chosen` of K input tensors.

    Args:
        n_candidates: K; not needed where `choose_from` is given.
        choose_from: One name an input. The key of a LayerChoice says that the input is that
            block's output: a differentiable search then ranks the input by that block's logits.
            `NO_KEY` is an input without a name.
        n_chosen: How many inputs are chosen; None is any number, none included.
        reduction: ``sum``, ``mean``, ``concat`` (dim 1) or ``none`` (a list).
        return_mask: Also return which inputs were active, ``(K,)`` bool.
        key: Blocks with equal keys share one decision; the module's path if None.

    Shape:
        - Input: a list of K tensors, or a dict from the names in `choose_from` to tensors
        - Output: None if nothing is chosen, the bare tensor if one is
        - ``Decision.mix``: ``(K,)``

    Raises:
        ChoiceError: If the numbers contradict each other.
    """

    kind = "input"
    NO_KEY = ""

    def __init__(
        self,
        n_candidates: int | None = None,
        choose_from: Sequence[str] | None = None,
        n_chosen: int | None = None,
        reduction: str = "sum",
        return_mask: bool = False,
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        if n_candidates is None and choose_from is None:
            raise ChoiceError(f"{self.label} needs n_candidates or choose_from.")
        for name, number in (("n_candidates", n_candidates), ("n_chosen", n_chosen)):
            if number is not None and type(number) is not int:
                raise ChoiceError(f"{self.label}: {name} is a whole number, got {number!r}.")
        if choose_from is None:
            choose_from = [self.NO_KEY] * (n_candidates or 0)
        if isinstance(choose_from, str) or not all(isinstance(name, str) for name in choose_from):
            raise ChoiceError(
                f"{self.label}: choose_from is a list of keys, or of NO_KEY where an input has "
                f"none, got {choose_from!r}."
            )
        if n_candidates is not None and n_candidates != len(choose_from):
            raise ChoiceError(
                f"{self.label}: n_candidates is {n_candidates}, "
                f"but choose_from has {len(choose_from)} entries."
            )
        named = [name for name in choose_from if name != self.NO_KEY]
        if not choose_from or len(set(named)) != len(named):
            raise ChoiceError(
                f"{self.label} chooses from {list(choose_from)}: at least one input is "
                "needed, and no name may occur twice."
            )
        if n_chosen is not None and not 1 <= n_chosen <= len(choose_from):
            raise ChoiceError(
                f"{self.label}: n_chosen must be in [1, {len(choose_from)}] or be None "
                f"for any number, got {n_chosen}."
            )
        self.choose_from = list(choose_from)
        self.n_candidates = len(self.choose_from)
        self._n_chosen = n_chosen
        self.reduction = check_reduction(reduction)
        self.return_mask = return_mask

    @property
    def candidates(self) -> tuple[str | int, ...]:
        if self.NO_KEY in self.choose_from:
            return tuple(range(self.n_candidates))
        return tuple(self.choose_from)

    @property
    def n_chosen(self) -> int | None:
        return self._n_chosen

    def forward(self, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> Any:
        decision = self.decision()
        tensors = self.as_list(inputs)
        chosen = [self.weighted(decision.mix, i, tensors[i]) for i in decision.active]
        names = [self.candidates[i] for i in decision.active]
        out = reduce_chosen(chosen, names, self.reduction, self.key)
        return (out, mask_of(decision.active, self.n_candidates)) if self.return_mask else out

    def reader(self) -> nn.Module | None:
        return None  # it picks and adds, and writes nothing

    def as_list(self, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> list[Tensor]:
        """Returns the K inputs in the order of `choose_from`.

        Raises:
            ChoiceError: If their number or names are others.
        """
        if isinstance(inputs, Mapping):
            if set(inputs) != set(self.choose_from):
                raise ChoiceError(
                    f"{self.label} takes the inputs {self.choose_from}, got {sorted(inputs)}."
                )
            return [inputs[name] for name in self.choose_from]
        # A tensor has a length too, that of the batch.
        if not isinstance(inputs, (list, tuple)):
            raise ChoiceError(
                f"{self.label} takes a list or a dict of {self.n_candidates} tensors, got a "
                f"{type(inputs).__name__}."
            )
        if len(inputs) != self.n_candidates:
            raise ChoiceError(f"{self.label} takes {self.n_candidates} inputs, got {len(inputs)}.")
        return list(inputs)
