"""The keys of a model's choice blocks, and what each block depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from nas_plugin.choice.block import ChoiceBlock, Mutable
from nas_plugin.choice.repeat import Repeat
from nas_plugin.errors import ChoiceError

Condition = tuple[str, tuple[str | int, ...]]


@dataclass(frozen=True)
class KeyedBlock:
    """A choice block at a place of a model.

    Args:
        key: Its identity.
        path: The module's path from the unwrapped root, separated by dots.
        block: The block.
        within: The choices that must have been made for the block to run here.
    """

    key: str
    path: str
    block: ChoiceBlock
    within: tuple[Condition, ...]


def unwrap(model: nn.Module) -> nn.Module:
    """Removes wrappers: DistributedDataParallel, torch.compile, averaged models."""
    while True:
        # Not by isinstance: importing those classes loads what a search may never need.
        if type(model).__name__ in ("DistributedDataParallel", "DataParallel", "AveragedModel"):
            inner = model.module
        elif type(model).__name__ == "OptimizedModule":
            inner = model._orig_mod
        else:
            return model
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def keyed_blocks(model: nn.Module) -> list[KeyedBlock]:
    """Returns every place of every choice block, in module order.

    A key that is not given is the path from the nearest enclosing block with an explicit key, else
    from the unwrapped root, separated by ``/``.

    Raises:
        ChoiceError: If an explicit key equals a path, or blocks of one key differ.
    """
    first_key: dict[int, str] = {}
    found = []
    for entry in _walk(unwrap(model), path="", base="", key_path="", within=()):
        # A block that stands at two paths is one block: it keeps the key of the first.
        key = first_key.setdefault(id(entry.block), entry.key)
        found.append(replace(entry, key=key))
    by_key: dict[str, KeyedBlock] = {}
    for entry in found:
        first = by_key.setdefault(entry.key, entry)
        _check_same(first, entry)
    return found


def _walk(
    module: nn.Module, path: str, base: str, key_path: str, within: tuple[Condition, ...]
) -> Iterator[KeyedBlock]:
    """Walks below `module`, whose blocks' keys are `base` and the path since it, `key_path`."""
    key = _join(base, key_path)
    if isinstance(module, Mutable):
        if module.given_key is not None:
            key = base = module.given_key
            key_path = ""
        if isinstance(module, ChoiceBlock):
            yield KeyedBlock(key or type(module).__name__, path, module, within)
    for name, child in module.named_children():
        inner = within
        if isinstance(module, Repeat):
            inner = (*within, (key, tuple(d for d in module.depths if d > int(name))))
        elif isinstance(module, ChoiceBlock):
            inner = (*within, (key, (name,)))
        yield from _walk(
            child, f"{path}.{name}" if path else name, base, _join(key_path, name), inner
        )


def _join(left: str, right: str) -> str:
    return f"{left}/{right}" if left and right else left or right


def _check_same(first: KeyedBlock, other: KeyedBlock) -> None:
    a, b = first.block, other.block
    if (a.given_key is None) != (b.given_key is None):
        raise ChoiceError(
            f"The key '{first.key}' is given to one block and is the path of another "
            f"('{first.path}' and '{other.path}'). Rename the explicit key."
        )
    if _identity(a) != _identity(b):
        raise ChoiceError(
            f"Blocks that share the key '{first.key}' must have the same candidates: "
            f"'{first.path}' has {_identity(a)}, '{other.path}' has {_identity(b)}. "
            "Give one of them another key."
        )


def _identity(block: ChoiceBlock) -> tuple[Any, ...]:
    return (block.kind, block.candidates, block.n_chosen)
