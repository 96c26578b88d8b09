"""Operations by name, for model descriptions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from nas_plugin.errors import OptionError
from nas_plugin.parameters import parameters_of
from nas_plugin.registry import Registry

Factory = Callable[..., nn.Module]
F = TypeVar("F", bound=Factory)

_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
#: What is known of an operation's input and therefore never written: its channels.
INFERRED = ("c_in", "c")

operations: Registry[Factory] = Registry(
    "operation", package="nas_plugin.operations", group="nas_plugin.operations"
)


def register(name: str) -> Callable[[F], F]:
    """Makes a module class or factory an operation of model descriptions.

    Its argument `c_in` (or `c`) is the number of channels that come in, which is inferred; `c_out`
    is the same number where a description leaves it out. All others are written by name.

    Args:
        name: What descriptions call it.

    Raises:
        OptionError: If the name is taken, or the signature is none that a description can fill.
    """

    def add(factory: F) -> F:
        check_signature(name, factory)
        operations.add(name, factory)
        return factory

    return add


def check_signature(name: str, factory: Any) -> None:
    """Checks that descriptions can call `factory`.

    Raises:
        OptionError: If they cannot.
    """
    if not callable(factory):
        raise OptionError(f"Operation '{name}' must be a class or function, got {factory!r}.")
    if _NAME.fullmatch(name) is None:
        raise OptionError(
            f"The name of an operation holds lower-case letters, digits and '_', got {name!r}."
        )
    # A module without an __init__ of its own takes no argument.
    plain = getattr(factory, "__init__", None) is nn.Module.__init__
    for entry in () if plain else inspect.signature(factory).parameters.values():
        if entry.kind in (entry.VAR_POSITIONAL, entry.VAR_KEYWORD, entry.POSITIONAL_ONLY):
            raise OptionError(
                f"Operation '{name}': a description gives arguments by name, which "
                f"'{entry}' does not allow. Spell every argument out."
            )
        if entry.name == "name":
            raise OptionError(
                f"Operation '{name}': a description uses 'name' for the operation itself. "
                "Rename the argument."
            )
    if all(inferred in parameters_of(factory) for inferred in INFERRED):
        raise OptionError(f"Operation '{name}' takes c and c_in, which are the same. Keep one.")
