"""PC-DARTS: DARTS whose candidates see a part of the channels, with logits for edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from nas_plugin.choice.keys import keyed_blocks
from nas_plugin.errors import OptionError
from nas_plugin.mutators.darts import DartsMutator
from nas_plugin.space.narrow import narrowed

#: One in this many channels is seen.
PARTIAL = 4


class PcDartsMutator(DartsMutator, name="pc_darts"):
    """Mixes candidates by ``softmax(alpha)`` and edges by ``softmax(beta)``.

    The model is to be built with partial channels: ``PcDartsMutator.transform(builder)``, or
    ``darts(partial=4)``. It stands for the mutator ``darts``, partial channels, betas, a learning
    rate of the logits of 6e-4, and 15 of 50 epochs that train the weights only.

    Args:
        model: The model whose choice blocks are decided.
        seed: Seeds the logits.
        scale: Standard deviation of the initial logits.
        partial: Candidates must see one in this many channels; 1 does not ask for it.

    Raises:
        OptionError: If no block of the model has partial channels.

    References:
        Xu et al. 2020, https://arxiv.org/abs/1907.05737
    """

    arch_settings: ClassVar[Mapping[str, Any]] = {"lr": 6e-4}
    warm_up = 0.3

    def __init__(
        self, model: nn.Module, *, seed: int = 0, scale: float = 1e-3, partial: int = PARTIAL
    ) -> None:
        found = {getattr(place.block, "partial", 1) for place in keyed_blocks(model)}
        if partial > 1 and partial not in found:
            raise OptionError(
                f"pc_darts searches candidates that see one in {partial} channels, but the model's "
                f"blocks have partial={sorted(found)}. Build it with partial={partial}, for "
                f"example darts(partial={partial}), or pass partial=1 to search it as it is."
            )
        super().__init__(model, seed=seed, scale=scale)
        self.add_betas()

    @classmethod
    def transform(cls, builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        return narrowed(builder, PARTIAL)
