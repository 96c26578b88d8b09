"""Turns layers of an existing model into choice blocks, without touching its code."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from nas_plugin.choice.block import ChoiceBlock
from nas_plugin.choice.keys import keyed_blocks, unwrap
from nas_plugin.choice.layer_choice import LayerChoice
from nas_plugin.errors import ChoiceError

ORIGINAL = "original"
Where = str | Callable[[str, nn.Module], bool]


@dataclass(frozen=True)
class Rule:
    """Which layers become choices, and what they may become.

    Args:
        where: A pattern of module paths (``layers.*.conv1``; ``*`` and ``?`` as in file names), or
            a predicate ``(path, module) -> bool``.
        candidates: Makes the alternatives of a layer: ``module -> {name: module}``, or a list of
            modules (named "1", "2", …). They take the layer's input and give outputs of its shape.
        key: Given to every choice of the rule, so that all its layers share one decision; each has
            its own if None.
    """

    where: Where
    candidates: Callable[[nn.Module], Mapping[str, nn.Module] | Sequence[nn.Module]]
    key: str | None = None

    def matches(self, path: str, module: nn.Module) -> bool:
        if isinstance(self.where, str):
            return fnmatch.fnmatchcase(path, self.where)
        return self.where(path, module)


def annotate(model: nn.Module, rules: Rule | Sequence[Rule]) -> list[str]:
    """Replaces every layer that a rule matches by a `LayerChoice`, in place.

    The layer itself, with its weights, is the first candidate, ``original``; the first rule that
    matches a layer decides. A layer that stands at several paths becomes one choice.

    Args:
        model: Any model; its code is not changed.
        rules: One or several.

    Returns:
        The keys of the new choices: that of the rule, else the path of the layer.

    Raises:
        ChoiceError: If a rule matches nothing, the model itself, or a layer inside another that is
            matched, or a mutator decides the model; the model is then unchanged.
    """
    root = unwrap(model)
    for entry in keyed_blocks(root):
        entry.block.check_unbound("annotate the model")
    listed = [rules] if isinstance(rules, Rule) else list(rules)
    if not listed or not all(isinstance(rule, Rule) for rule in listed):
        raise ChoiceError(f"annotate takes a Rule or a list of them, got {rules!r}.")
    chosen: dict[str, Rule] = {}
    used: set[int] = set()
    for path, module in root.named_modules(remove_duplicate=False):
        if isinstance(module, ChoiceBlock):
            continue
        matching = [i for i, rule in enumerate(listed) if rule.matches(path, module)]
        if matching:
            used.update(matching)
            chosen[path] = listed[matching[0]]
    _check(root, listed, chosen, used)
    made: dict[int, LayerChoice] = {}
    for path, rule in chosen.items():
        layer = root.get_submodule(path)
        if id(layer) not in made:
            alternatives = _named(rule.candidates(layer), path)
            if ORIGINAL in alternatives:
                raise ChoiceError(
                    f"The candidates of '{path}' hold the name '{ORIGINAL}', which is the layer "
                    "itself. Choose another name."
                )
            if not alternatives:
                raise ChoiceError(f"The rule for '{path}' gave no candidate beside the layer.")
            made[id(layer)] = LayerChoice({ORIGINAL: layer, **alternatives}, key=rule.key)
    replacements = {path: made[id(root.get_submodule(path))] for path in chosen}
    for path, choice in replacements.items():
        _put(root, path, choice)
    try:
        new = set(made.values())
        return list(dict.fromkeys(e.key for e in keyed_blocks(root) if e.block in new))
    except ChoiceError:
        for path, choice in replacements.items():
            _put(root, path, choice[ORIGINAL])
        raise


def _named(candidates: Any, path: str) -> Mapping[str, nn.Module]:
    if isinstance(candidates, (list, tuple)):
        candidates = {str(number): module for number, module in enumerate(candidates, start=1)}
    if not isinstance(candidates, Mapping) or not all(
        isinstance(module, nn.Module) for module in candidates.values()
    ):
        raise ChoiceError(
            f"The rule for '{path}' must give a dict from names to modules, or a list of modules; "
            f"got {candidates!r}."
        )
    return candidates


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    root.get_submodule(parent)._modules[name] = module


def _check(root: nn.Module, rules: list[Rule], chosen: dict[str, Rule], used: set[int]) -> None:
    for i, rule in enumerate(rules):
        if i not in used:
            some = [path for path, _ in root.named_modules() if path][:8]
            raise ChoiceError(
                f"Rule {i} ({rule.where!r}) matches no layer. The model's paths begin with {some}; "
                "print(model) shows all."
            )
    if "" in chosen:
        raise ChoiceError("A rule matches the model itself; match layers inside it.")
    for path in chosen:
        parts = path.split(".")
        for n in range(1, len(parts)):
            outer = ".".join(parts[:n])
            if outer in chosen:
                raise ChoiceError(
                    f"Rules match '{outer}' and '{path}' inside it. Narrow the pattern so that "
                    "one of them is left."
                )
