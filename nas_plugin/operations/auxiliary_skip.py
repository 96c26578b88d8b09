"""Auxiliary skip connections beside the candidates of every block (DARTS-)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nas_plugin.choice.binding import Binding
from nas_plugin.choice.decision import Decision
from nas_plugin.choice.keys import KeyedBlock, keyed_blocks
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import OptionError
from nas_plugin.operations.conv import FactorizedReduce


def add_auxiliary_skips(model: nn.Module, *inputs: Any) -> nn.Module:
    """Gives every layer choice a skip connection that no architecture holds; returns the model.

    It is the identity, or a factorized reduction without affine batch norm where the block halves
    the maps. A search scales it by the regularizer `AuxiliarySkip`; without one it is silent. Its
    weights are trained with the model's, so add it before the optimizer is made.

    Args:
        model: A supernet that no mutator decides.
        *inputs: What it takes, on its device.

    Raises:
        OptionError: If a block is not reached or changes shapes in another way, or a mutator
            decides the model.

    References:
        Chu et al. 2021, https://arxiv.org/abs/2009.01027
    """
    layers = [place for place in keyed_blocks(model) if isinstance(place.block, LayerChoice)]
    for place in layers:
        place.block.check_unbound("add an auxiliary skip")
    shapes = _shapes(model, layers, inputs)
    for place in layers:
        if isinstance(place.block, LayerChoice):
            place.block.auxiliary = _skip(place, *shapes.get(place.path, (None, None)))
    return model


def _skip(place: KeyedBlock, before: Tensor | None, after: Tensor | None) -> nn.Module:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        if before.shape == after.shape:
            return nn.Identity()
        halved = tuple(-(-size // 2) for size in before.shape[2:])
        if before.dim() == 4 and after.shape[2:] == halved:
            made = FactorizedReduce(before.shape[1], after.shape[1], affine=False)
            return made.to(before.device)
    found = "is not reached by the first path" if before is None else (
        f"gives {tuple(getattr(after, 'shape', ()))} of {tuple(getattr(before, 'shape', ()))}"
    )  # fmt: skip
    raise OptionError(
        f"The block '{place.path}' {found}, so an auxiliary skip has no place beside it: blocks "
        "keep the shape, or halve the maps of images."
    )


def _shapes(
    model: nn.Module, layers: list[KeyedBlock], inputs: tuple[Any, ...]
) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """Runs first candidates on all inputs; returns what each block takes and gives."""
    seen: dict[str, tuple[Tensor | None, Tensor | None]] = {}
    binding = Binding("add_auxiliary_skips")
    decisions = {}
    for place in binding.attach(model):
        n = len(place.block.candidates)
        one = {"layer": (0,), "repeat": (n - 1,)}
        decisions[place.key] = Decision(None, one.get(place.block.kind, tuple(range(n))))
    binding.decisions = decisions
    hooks = []
    for place in layers:

        def note(_: nn.Module, args: Any, out: Any, path: str = place.path) -> None:
            seen[path] = (args[0], out[0] if isinstance(out, tuple) else out)

        hooks.append(place.block.register_forward_hook(note))
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
        binding.detach(model)
    return seen
