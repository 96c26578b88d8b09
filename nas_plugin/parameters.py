"""The arguments of a class or function: for help, documents, configuration files, and typos."""

from __future__ import annotations

import difflib
import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args, get_origin

from typing_extensions import Unpack, get_type_hints

from nas_plugin.errors import OptionError

Described = Callable[..., Any]


@dataclass(frozen=True)
class Parameter:
    """One argument.

    Args:
        name: What it is called.
        type: Its annotation; a string if that cannot be resolved at run time.
        default: Its default; None if it is required.
        required: Whether it has no default.
        keyword_only: Whether it is given by name only.
        doc: What the docstring says about it, in one line.
    """

    name: str
    type: Any
    default: Any
    required: bool
    keyword_only: bool
    doc: str


@lru_cache(maxsize=512)
def parameters_of(what: Described) -> Mapping[str, Parameter]:
    """Returns the arguments of a class or function, by name, in their order.

    ``**options: Unpack[SomeTypedDict]`` is followed: each of its names has the type of the
    dictionary, and the default and description of the next class that spells it out. Without
    ``Unpack``, ``*args`` and ``**kwargs`` stand for all arguments of the next class.
    """
    if not isinstance(what, type):
        return _spelled(what, [], _docs([what]))
    owners = [cls for cls in what.__mro__ if "__init__" in vars(cls) and cls is not object]
    if not owners:
        return {}
    inits = [vars(cls)["__init__"] for cls in owners]
    return _spelled(inits[0], inits[1:], _docs(what.__mro__))


def check_names(what: Described, names: Iterable[str]) -> None:
    """Checks the names of keyword arguments.

    Raises:
        OptionError: If one is unknown; it names the class, the nearest name, and all.
    """
    known = parameters_of(what)
    for name in names:
        if name not in known and not _takes_anything(what):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise OptionError(
                f"{what.__name__} has no argument '{name}'.{hint} "
                f"It takes {', '.join(known) or 'none'}."
            )


class Spelled(ABCMeta):
    """A class whose arguments are checked by name, and that knows other names of some.

    A class sets `argument_aliases`, from another name to the argument's own.
    """

    argument_aliases: Mapping[str, str] = {}

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        given = renamed(cls, kwargs, cls.argument_aliases) if kwargs else kwargs
        check_names(cls, given)
        return super().__call__(*args, **given)


def renamed(
    what: Described, given: Mapping[str, Any], aliases: Mapping[str, str]
) -> dict[str, Any]:
    """Returns keyword arguments under their own names.

    Raises:
        OptionError: If one is given under two names.
    """
    known = parameters_of(what)
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, value in given.items():
        own = aliases.get(name, name)
        own = name if name in known or own not in known else own
        if own in found:
            raise OptionError(
                f"{what.__name__} was given {origin[own]} and {name}, which are two names of one "
                f"argument. Give {own}."
            )
        found[own], origin[own] = value, name
    return found


def _spelled(
    function: Described, further: list[Described], docs: Mapping[str, str]
) -> dict[str, Parameter]:
    inherited = _spelled(further[0], further[1:], docs) if further else {}
    found: dict[str, Parameter] = {}
    signature = inspect.signature(function).parameters
    for name, entry in list(signature.items())[1 if _is_method(function) else 0 :]:
        if entry.kind is entry.VAR_POSITIONAL:
            found.update({n: p for n, p in inherited.items() if not p.keyword_only})
        elif entry.kind is entry.VAR_KEYWORD:
            for parameter in _unpacked(function, entry, inherited, docs):
                found.setdefault(parameter.name, parameter)
        else:
            required = entry.default is entry.empty
            found[name] = Parameter(
                name,
                _resolved(function, entry.annotation),
                None if required else entry.default,
                required,
                entry.kind is entry.KEYWORD_ONLY,
                docs.get(name, ""),
            )
    return found


def _unpacked(
    function: Described,
    entry: inspect.Parameter,
    inherited: Mapping[str, Parameter],
    docs: Mapping[str, str],
) -> Iterator[Parameter]:
    annotation = _resolved(function, entry.annotation)
    if get_origin(annotation) is not Unpack:
        yield from inherited.values()
        return
    (options,) = get_args(annotation)
    for name, kind in get_type_hints(options).items():
        known = inherited.get(name)
        required = name in options.__required_keys__ if known is None else known.required
        default = None if known is None else known.default
        yield Parameter(name, kind, default, required, True, docs.get(name, ""))


def _is_method(function: Described) -> bool:
    return function.__name__ == "__init__"


def _resolved(function: Described, annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))  # of our own source
    except NameError:  # imported for type checkers only
        return annotation


def _takes_anything(what: Described) -> bool:
    """Says whether the last ``**kwargs`` of a function or class is handed to nothing known."""
    functions: list[Described] = [what]
    if isinstance(what, type):
        functions = [vars(cls)["__init__"] for cls in what.__mro__ if "__init__" in vars(cls)]
        functions = [function for function in functions if inspect.isfunction(function)]
    for function in functions:
        entries = inspect.signature(function).parameters.values()
        rest = [entry for entry in entries if entry.kind is entry.VAR_KEYWORD]
        if not rest or get_origin(_resolved(function, rest[0].annotation)) is Unpack:
            return False
    return True


def _docs(owners: Iterable[Described]) -> dict[str, str]:
    """Returns the descriptions of arguments; those of the first owner win."""
    found: dict[str, str] = {}
    for owner in owners:
        for name, text in _args_section(owner.__dict__.get("__doc__") or owner.__doc__):
            found.setdefault(name, text)
    return found


def _args_section(docstring: str | None) -> Iterator[tuple[str, str]]:
    """Yields names and descriptions of the section ``Args:`` of a Google-style docstring."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    if "Args:" not in lines:
        return
    name, text = "", ""
    for line in lines[lines.index("Args:") + 1 :]:
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent == 0:
            break
        before, colon, after = line.strip().partition(":")
        if indent == 4 and colon:
            if name:
                yield name, text
            name, text = before.strip(), after.strip()
        elif line.strip():
            text = f"{text} {line.strip()}"
    if name:
        yield name, text
