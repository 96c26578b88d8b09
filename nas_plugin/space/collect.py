"""The search space of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from nas_plugin.choice.keys import KeyedBlock, keyed_blocks, no_module, unwrap
from nas_plugin.choice.value_choice import ValueRecorder, recording
from nas_plugin.errors import SpaceError
from nas_plugin.space.choice import Choice, Condition
from nas_plugin.space.search_space import SearchSpace

ModelOrFactory = nn.Module | Callable[[], nn.Module]

#: The attributes of a model under which `build` records which values it was asked for, and gave.
VALUES_ATTRIBUTE = "_nas_plugin_values"
ANSWERS_ATTRIBUTE = "_nas_plugin_answers"


def search_space(model: ModelOrFactory) -> SearchSpace:
    """Returns all choices of a model, or of the model that a factory makes.

    Raises:
        SpaceError: If there is none.
        ChoiceError: If keys contradict each other.
    """
    if not isinstance(model, nn.Module):
        if not callable(model):
            raise SpaceError(no_module(model, "a torch module or a factory of one"))
        model = build_supernet(model)
    blocks = keyed_blocks(model)
    values = value_choices(model)
    for entry in blocks:
        if entry.key in values:
            raise SpaceError(
                f"The key '{entry.key}' belongs to a ValueChoice and to the block '{entry.path}'. "
                "Rename one of them."
            )
    choices = [Choice(key, "value", options) for key, options in values.items()]
    return SearchSpace([*choices, *_block_choices(blocks)])


def value_choices(model: nn.Module) -> Mapping[str, tuple[Any, ...]]:
    """Returns key → values of the ValueChoices that `build` met while it made `model`."""
    found: Mapping[str, tuple[Any, ...]] = getattr(unwrap(model), VALUES_ATTRIBUTE, {})
    return found


def built_values(model: nn.Module) -> Mapping[str, Any]:
    """Returns key → value of the ValueChoices with which `build` made `model`."""
    found: Mapping[str, Any] = getattr(unwrap(model), ANSWERS_ATTRIBUTE, {})
    return found


def build_supernet(
    factory: Callable[[], nn.Module], chosen: Mapping[str, Any] | None = None
) -> nn.Module:
    """Calls `factory` with every ValueChoice answered, and records them on the model."""
    with recording(ValueRecorder(chosen)) as recorder:
        model = factory()
    if not isinstance(model, nn.Module):
        raise SpaceError(f"The factory must return a torch module, got {model!r}.")
    setattr(model, VALUES_ATTRIBUTE, dict(recorder.asked))
    setattr(model, ANSWERS_ATTRIBUTE, dict(recorder.answered))
    return model


def _block_choices(blocks: list[KeyedBlock]) -> list[Choice]:
    """Joins the places of each key; an edge matters only where a switch chooses it."""
    places: dict[str, list[KeyedBlock]] = {}
    for entry in sorted(blocks, key=lambda e: e.block.serial):
        places.setdefault(entry.key, []).append(entry)
    layers = {key for key, entries in places.items() if entries[0].block.kind == "layer"}
    switched: dict[str, list[Condition]] = {}
    for key, entries in places.items():
        block = entries[0].block
        if block.kind == "input" and all(name in layers for name in block.candidates):
            for name in block.candidates:
                switched.setdefault(str(name), []).append((key, (name,)))
    return [_choice(key, entries, switched.get(key, [])) for key, entries in places.items()]


def _choice(key: str, entries: list[KeyedBlock], switches: list[Condition]) -> Choice:
    block = entries[0].block
    alternatives: set[tuple[Condition, ...]] = set()
    for entry in entries:
        alternatives.update((*entry.within, switch) for switch in switches)
        if not switches:
            alternatives.add(entry.within)
    return Choice(
        key,
        block.kind,
        block.candidates,
        n_chosen=block.n_chosen,
        excluded=block.excluded,
        active_if=() if () in alternatives else tuple(sorted(alternatives)),
    )
