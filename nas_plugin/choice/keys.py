"""The keys of a model's choice blocks, and what each block depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from nas_plugin.choice.block import ChoiceBlock, Mutable
from nas_plugin.errors import ChoiceError, OptionError

Within = tuple[str, tuple[str | int, ...]]


@dataclass(frozen=True)
class KeyedBlock:
    """A choice block at a place of a model.

    Args:
        key: Its identity.
        path: The module's path from the unwrapped root, separated by dots.
        block: The block.
        within: The choices that must have been made for the block to run here.
        base: The explicit key that `key` starts with; empty where it is a path from the root.
    """

    key: str
    path: str
    block: ChoiceBlock
    within: tuple[Within, ...]
    base: str


def unwrap(model: nn.Module) -> nn.Module:
    """Removes wrappers: DistributedDataParallel, torch.compile, averaged models.

    Raises:
        OptionError: If it is no module.
    """
    if not isinstance(model, nn.Module):
        raise OptionError(no_module(model, "a torch module"))
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


def no_module(given: Any, wanted: str) -> str:
    """Returns the message of an error about what is given in place of a model."""
    hint = ""
    if isinstance(given, list) and given and all(isinstance(key, str) for key in given):
        hint = (
            " annotate changes the model in place and returns the keys of its new choices: call "
            "annotate(model, rules), and pass the model itself."
        )
    return f"The model must be {wanted}; got {given!r}.{hint}"


def keyed_blocks(model: nn.Module) -> list[KeyedBlock]:
    """Returns every place of every choice block, in module order.

    A key that is not given is the path from the nearest enclosing block with an explicit key, else
    from the unwrapped root, separated by ``/``. A block that stands at two paths is one block: it
    keeps the key of the first.

    Raises:
        ChoiceError: If an explicit key equals a path, or blocks of one key differ.
    """
    found = list(_walk(unwrap(model), path="", base="", key_path="", within=(), named={}))
    by_key: dict[str, KeyedBlock] = {}
    for entry in found:
        _check_same(by_key.setdefault(entry.key, entry), entry)
    return found


def _walk(
    module: nn.Module,
    path: str,
    base: str,
    key_path: str,
    within: tuple[Within, ...],
    named: dict[int, tuple[str, str]],
) -> Iterator[KeyedBlock]:
    """Walks below `module`, whose blocks' keys are `base` and the path since it, `key_path`.

    Args:
        named: Block → key and base, of the blocks met so far.
    """
    key = ""
    if isinstance(module, Mutable) and module.given_key is not None:
        base, key_path = module.given_key, ""
    if isinstance(module, ChoiceBlock):
        new = (_join(base, key_path) or type(module).__name__, base)
        key, origin = named.setdefault(id(module), new)
        yield KeyedBlock(key, path, module, within, origin)
    # Not named_children(), which leaves out what stands under a second name.
    for name, child in module._modules.items():
        if child is None:
            continue
        inner = within
        if isinstance(module, ChoiceBlock):
            inner = (*within, (key, module.chosen_for(name)))
        child_path = f"{path}.{name}" if path else name
        yield from _walk(child, child_path, base, _join(key_path, name), inner, named)


def _join(left: str, right: str) -> str:
    return f"{left}/{right}" if left and right else left or right


def _check_same(first: KeyedBlock, other: KeyedBlock) -> None:
    if first.base != other.base:
        raise ChoiceError(
            f"Two blocks come to the same key '{first.key}' by different ways: '{first.path}', "
            f"where it is {_origin(first)}, and '{other.path}', where it is {_origin(other)}. "
            "Rename the explicit key."
        )
    if _identity(first.block) != _identity(other.block):
        raise ChoiceError(
            f"Blocks that share the key '{first.key}' must have the same candidates: "
            f"'{first.path}' has {_identity(first.block)}, '{other.path}' has "
            f"{_identity(other.block)}. Give one of them another key."
        )


def _origin(entry: KeyedBlock) -> str:
    if entry.base == entry.key:
        return "given"
    return f"the path below the key '{entry.base}'" if entry.base else "the path"


def _identity(block: ChoiceBlock) -> tuple[Any, ...]:
    return (block.kind, block.candidates, block.n_chosen, block.excluded)
