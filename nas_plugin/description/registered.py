"""From an operation's name and parameters to the module."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from torch import nn

from nas_plugin.description.expression import Number, evaluate, names_in
from nas_plugin.description.op import Op
from nas_plugin.errors import DescriptionError, OptionError
from nas_plugin.operations.registry import INFERRED, Factory, operations
from nas_plugin.parameters import Parameter, parameters_of

#: What an annotation of a plain type accepts.
_ACCEPTED: Mapping[Any, tuple[type, ...]] = {
    int: (int,), float: (int, float), bool: (bool,), str: (str,), type(None): (type(None),),
    tuple: (tuple,), list: (tuple,),
}  # fmt: skip


def check_parameters(op: Op) -> Iterator[str]:
    """Checks the name and parameters of an operation, and yields those that are expressions.

    Raises:
        DescriptionError: If one is unknown, missing or of another type.
    """
    known = parameters_of(factory_of(op))
    for name, value in op.parameters.items():
        if name in INFERRED and name in known:
            raise DescriptionError(
                f"Operation '{op.name}': '{name}' is the number of channels that come in, which is "
                "inferred. Leave it out."
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            written = [entry for entry in known if entry not in INFERRED]
            raise DescriptionError(
                f"Operation '{op.name}' has no parameter '{name}'.{hint} It takes "
                f"{', '.join(written) or 'none'}."
            )
        if is_expression(known[name], value):
            yield str(value)
        elif not _accepts(known[name].type, value):
            raise DescriptionError(
                f"Operation '{op.name}': {name} is {_named(known[name].type)}, got {value!r}."
            )
    for name, entry in known.items():
        if entry.required and name not in (*op.parameters, *INFERRED, "c_out"):
            raise DescriptionError(
                f"Operation '{op.name}' needs the parameter '{name}' ({_named(entry.type)})."
            )


def checked(op: Op) -> Op:
    """Returns an operation if its name and parameters are lawful.

    Raises:
        DescriptionError: As `check_parameters`.
    """
    for expression in check_parameters(op):
        names_in(expression)
    return op


def arguments(op: Op, c_in: int, names: Mapping[str, Number]) -> dict[str, Any]:
    """Returns the arguments with which an operation is made.

    Args:
        op: The operation.
        c_in: The channels that come in.
        names: What the parameters of its graph stand for.
    """
    known = parameters_of(factory_of(op))
    found: dict[str, Any] = {name: c_in for name in INFERRED if name in known}
    if "c_out" in known:
        found["c_out"] = c_in
    for name, value in op.parameters.items():
        if is_expression(known[name], value):
            found[name] = evaluate(str(value), {**names, "c_in": c_in})
            if not _accepts(known[name].type, found[name]):
                raise DescriptionError(
                    f"operation '{op.name}': {name} is {_named(known[name].type)}, but '{value}' "
                    f"is {found[name]}. Quotients are written with //."
                )
        else:
            found[name] = value
    return found


def made(op: Op, given: Mapping[str, Any]) -> nn.Module:
    """Returns the module of an operation.

    Raises:
        DescriptionError: If it cannot be made, or is no module.
    """
    try:
        module = factory_of(op)(**given)
    except Exception as error:  # an operation is the user's own code
        raise DescriptionError(
            f"Operation '{op.name}' cannot be made with {shown(given)}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise DescriptionError(
            f"Operation '{op.name}' gave a {type(module).__name__}; it must give a torch module."
        )
    return module


def factory_of(op: Op) -> Factory:
    """Returns what makes the module of an operation.

    Raises:
        DescriptionError: If nothing is registered under the name.
    """
    try:
        return operations.get(op.name)
    except OptionError as error:
        raise DescriptionError(str(error)) from error


def is_expression(parameter: Parameter, value: Any) -> bool:
    """Says whether a text stands for a number: where no text is accepted."""
    return isinstance(value, str) and not _accepts(parameter.type, value)


def shown(given: Mapping[str, Any]) -> str:
    """Returns arguments as errors show them."""
    return ", ".join(f"{name}={value!r}" for name, value in given.items()) or "no arguments"


def _accepts(annotation: Any, value: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_accepts(option, value) for option in get_args(annotation))
    accepted = _ACCEPTED.get(get_origin(annotation) or annotation)
    # What is no plain type, the operation checks itself.
    return accepted is None or type(value) in accepted


def _named(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))
