"""From a supernet to one architecture: an ordinary module without the unused candidates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nas_plugin.choice.binding import unbind
from nas_plugin.choice.block import Mutable, Reduction, mask_of, reduce_chosen
from nas_plugin.choice.input_choice import InputChoice
from nas_plugin.choice.keys import KeyedBlock, keyed_blocks, unwrap
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.choice.nothing import Nothing
from nas_plugin.choice.partial import PartialChannels
from nas_plugin.choice.repeat import Repeat
from nas_plugin.errors import ArchitectureError, OptionError, SpaceError
from nas_plugin.files import read_json
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.collect import built_values, search_space, value_choices
from nas_plugin.space.search_space import SearchSpace

ArchitectureSource = Mapping[str, Any] | str | os.PathLike[str]


def read_architecture(source: ArchitectureSource) -> Mapping[str, Any]:
    """Returns the mapping itself, or what an architecture file holds.

    Raises:
        FileError: If the file cannot be read safely.
        ArchitectureError: If it is not one object from keys to choices.
    """
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ArchitectureError(
            "An architecture is a mapping from keys to choices, or the path of a file, "
            f"got {source!r}."
        )
    data = read_json(Path(source))
    if not isinstance(data, Mapping):
        raise ArchitectureError(
            f"{os.fspath(source)} is not an architecture file: expected one JSON object from keys "
            f"to choices, found {type(data).__name__}."
        )
    return data


def apply_fixed_architecture(
    model: nn.Module, architecture: ArchitectureSource, *, keep_weights: bool = True
) -> nn.Module:
    """Replaces every choice block of `model` by what the architecture chooses, in place.

    What was not chosen is gone, parameters included, and so is what nobody reads any more: a
    module that knows such parts removes them in a method ``drop_unread()``, which is called once
    its blocks are fixed. A state_dict of the result loads into a fresh model that was fixed the
    same way.

    Args:
        model: A model with choice blocks, or one that was wrapped by DDP or torch.compile.
        architecture: A mapping from keys to choices, or the path of an architecture file.
        keep_weights: Keep the weights of what was chosen; False lets every module draw its own
            anew by its `reset_parameters`.

    Returns:
        The model without its wrappers; another module only where the model itself is a choice
        block.

    Raises:
        ArchitectureError: If the architecture does not fit. The model is then unchanged.
        SpaceError: If the model has no choices.
        OptionError: If weights are not to be kept, but a module cannot draw them anew.
    """
    root = unwrap(model)
    if not keyed_blocks(root) and not value_choices(root):
        raise SpaceError(
            "The model has no choice block, so there is nothing to fix: it was never annotated, or "
            "is fixed already. Make a new instance of the model that was searched and, if it was "
            "annotated, call annotate(model, rules) on it first."
        )
    space = search_space(root)
    if not keep_weights:
        _check_resets(root)
    spelled = read_architecture(architecture)
    try:
        chosen = space.architecture(spelled)
    except ArchitectureError as error:
        if isinstance(architecture, Mapping):
            raise
        raise ArchitectureError(f"{os.fspath(architecture)}: {error}") from error
    for key, value in built_values(root).items():
        if chosen.get(key) != value:
            raise ArchitectureError(
                f"The model was built with {value!r} for the value '{key}', but the architecture "
                f"says {chosen.get(key)!r}. Values are fixed when a model is made: use "
                "build(factory, architecture)."
            )
    places = keyed_blocks(root)
    unbind(root)
    # Inner blocks first, so that a candidate is complete when it takes its block's place.
    for place in reversed(places):
        replacement = _fixed(place, space, chosen)
        if place.path:
            parent, _, name = place.path.rpartition(".")
            root.get_submodule(parent)._modules[name] = replacement
        else:
            root = replacement
    for module in list(root.modules()):
        drop_unread = getattr(module, "drop_unread", None)
        if callable(drop_unread):
            drop_unread()
    if not keep_weights:
        for module in root.modules():
            reset = _reset_of(module)
            if reset is not None:
                reset()
    return root


def _reset_of(module: nn.Module) -> Callable[[], None] | None:
    # Attention and transformers spell it with an underscore.
    for name in ("reset_parameters", "_reset_parameters"):
        found: Callable[[], None] | None = getattr(module, name, None)
        if callable(found):
            return found
    return None


def _check_resets(root: nn.Module) -> None:
    for path, module in root.named_modules():
        if any(True for _ in module.parameters(recurse=False)) and _reset_of(module) is None:
            raise OptionError(
                f"keep_weights=False: '{path}' ({type(module).__name__}) has weights, but no "
                "reset_parameters() that draws them anew. Fix a freshly made model instead."
            )


class FixedLayer(nn.Module):
    """The chosen candidate of a LayerChoice whose output is more than the bare tensor."""

    def __init__(
        self, chosen: nn.Module, reduction: Reduction, mask: Tensor, return_mask: bool
    ) -> None:
        super().__init__()
        self.chosen = chosen
        self.reduction = reduction
        self.return_mask = return_mask
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = reduce_chosen([self.chosen(*args, **kwargs)], [0], self.reduction, None)
        return (out, self.mask) if self.return_mask else out


class FixedInput(nn.Module):
    """Picks the chosen inputs of an InputChoice.

    Shape:
        - Input: a list of K tensors, or a dict of them; entries that were not chosen may be None
        - Output: as the InputChoice gave
    """

    def __init__(self, block: InputChoice, indices: Sequence[int]) -> None:
        super().__init__()
        self.indices = tuple(indices)
        self.names = tuple(block.choose_from)
        self.reduction = block.reduction
        self.return_mask = block.return_mask
        mask = mask_of(self.indices, block.n_candidates)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> Any:
        entries = [inputs[n] for n in self.names] if isinstance(inputs, Mapping) else inputs
        chosen = [entries[i] for i in self.indices]
        out = reduce_chosen(chosen, self.indices, self.reduction, None)
        return (out, self.mask) if self.return_mask else out

    def extra_repr(self) -> str:
        return f"indices={self.indices}, reduction={self.reduction}"


def _fixed(place: KeyedBlock, space: SearchSpace, chosen: Architecture) -> nn.Module:
    """Returns what takes the place of a block."""
    block: Mutable = place.block
    if place.key not in chosen:
        return Nothing()
    value = chosen[place.key]
    if isinstance(block, LayerChoice):
        name = str(value)
        candidate: nn.Module = block[name]
        if block.partial > 1:
            candidate = PartialChannels(candidate, block.partial)
        if block.reduction == "none" or block.return_mask:
            mask = mask_of([block.names.index(name)], len(block))
            return FixedLayer(candidate, block.reduction, mask, block.return_mask)
        return candidate
    if isinstance(block, InputChoice) and isinstance(value, tuple):
        order = list(space[place.key].candidates)
        return FixedInput(block, [order.index(entry) for entry in value])
    if isinstance(block, Repeat) and isinstance(value, int):
        return nn.Sequential(*(block.get_submodule(str(i)) for i in range(value)))
    raise ArchitectureError(
        f"Choice '{place.key}': no rule makes {value!r} of a {type(block).__name__}. A block of "
        "another kind needs LayerChoice, InputChoice or Repeat as its base."
    )
