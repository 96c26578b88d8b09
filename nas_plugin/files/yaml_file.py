"""YAML from outside: plain data by the core schema of YAML 1.2, each key once, nothing runs.

PyYAML follows YAML 1.1: ``1e-3`` is text, ``no`` is False, ``12:30:45`` is 45045, and of two equal
keys the last wins. Here a plain scalar means what it looks like.

References:
    YAML 1.2.2, section 10.3, https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import yaml

from nas_plugin.errors import FileError
from nas_plugin.files.read import PathLike, read_text

MAX_BYTES = 2**20
MAX_DEPTH = 64
_MAX_EXPANDED = 4 * 2**20
_MAX_NODES = 50_000  # about a second of PyYAML
_SHORT = 80  # of a value in Python's spelling, which has more quotes
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Lines:
    """Where the values of a YAML text stand.

    Args:
        root: The composed text; None if it is empty.
    """

    root: yaml.Node | None

    def of(self, path: Sequence[str | int]) -> int:
        """Returns the line, from 1, of the last value on a path of keys and positions."""
        node, line = self.root, 1
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == str(step)]
                if not found:
                    break
                line, node = found[0][0].start_mark.line + 1, found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                if step >= len(node.value):
                    break
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line


def read_yaml(path: PathLike, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Returns the value of a YAML file with one document.

    Raises:
        FileError: If it is too large or too deep, holds a key twice, a tag beyond plain data, an
            infinite number, aliases that expand without measure, or is not YAML.
    """
    return parse_yaml(read_text(path, max_bytes), str(path), max_depth)[0]


def parse_yaml(text: str, name: str, max_depth: int = MAX_DEPTH) -> tuple[Any, Lines]:
    """Returns the value of YAML text with one document, and where each part of it stands.

    Args:
        text: The text.
        name: Name of its source, as errors call it.
        max_depth: The deepest nesting that is accepted.

    Raises:
        FileError: As `read_yaml`.
    """
    try:
        loader = _PlainLoader(text, max_depth)
        try:
            node = loader.get_single_node()
            return None if node is None else loader.construct_document(node), Lines(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise FileError(
            f"{name}{place}: {error.problem or error.context}. Correct it there."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise FileError(f"{name} is not YAML that can be read: {error}. Correct it.") from error


class _PlainLoader(yaml.SafeLoader):
    """Loads mappings, lists, text, numbers, booleans and null.

    Aliases share nodes, so that a small file can stand for a huge or endless value. Each node's
    expanded size and depth are summed when it is composed, before anything is built.
    """

    yaml_implicit_resolvers: dict[Any, Any] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {None: yaml.SafeLoader.construct_undefined}

    def __init__(self, text: str, max_depth: int) -> None:
        super().__init__(text)
        self._max_depth = max_depth
        self._open = self._count = 0
        self._extents: dict[int, tuple[int, int]] = {}  # of finished nodes: size, depth

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = cast(yaml.Event, self.peek_event()).start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._extents:
                raise _refusal("an alias stands inside its own anchor", mark)
            return node
        self._count += 1
        if self._count > _MAX_NODES:
            raise _refusal(f"more than {_MAX_NODES} values", mark)
        self._open += 1
        if self._open > self._max_depth:
            raise _refusal(f"nested more than {self._max_depth} deep", mark)
        node = cast(yaml.Node, super().compose_node(parent, index))
        self._open -= 1
        self._extents[id(node)] = self._extent(node)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refusal("a key must be text or a number", key_node.start_mark)
            merges = key_node.tag == _TAG + "merge"
            key = "<<" if merges else self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise _refusal(
                    f"the key '{key}' was already given in line {seen[key]}", key_node.start_mark
                )
            seen[key] = line
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        parts = [self._extents[id(child)] for child in children]
        size = 1 + sum(part[0] for part in parts) + (0 if children else len(node.value))
        depth = 1 + max((part[1] for part in parts), default=0)
        if size > _MAX_EXPANDED or depth > self._max_depth:
            raise _refusal("aliases expand to too large or too deep a value", node.start_mark)
        return size, depth


class Block(dict[str, Any]):
    """A mapping that `dump_yaml` writes line by line, however short it is."""


def dump_yaml(value: Any) -> str:
    """Returns YAML text that `read_yaml` reads as an equal value.

    Args:
        value: Mappings, lists, text, finite numbers, booleans and None. What is short is written
            on one line, but for a `Block`.
    """
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, width=96, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """Writes text in quotes where `_PlainLoader` would read something else."""

    yaml_implicit_resolvers: dict[Any, Any] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_mapping(self, tag: str, mapping: Any, flow_style: Any = None) -> Any:
        short = not isinstance(mapping, Block) and len(repr(mapping)) <= _SHORT
        return super().represent_mapping(tag, mapping, short)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: Any = None) -> Any:
        return super().represent_sequence(tag, sequence, len(repr(sequence)) <= _SHORT)


_PlainDumper.add_representer(
    Block, lambda dumper, block: dumper.represent_mapping(_TAG + "map", block)
)


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _integer(loader: _PlainLoader, node: yaml.ScalarNode) -> int:
    text = node.value
    return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


def _number(loader: _PlainLoader, node: yaml.ScalarNode) -> float:
    special = node.value[-4:].lower() in (".inf", ".nan")
    if special or not math.isfinite(float(node.value)):
        raise _refusal(f"{node.value[:40]} is not a finite number", node.start_mark)
    return float(node.value)


def _boolean(loader: _PlainLoader, node: yaml.ScalarNode) -> bool:
    if node.value.lower() not in ("true", "false"):
        raise _refusal(f"'{node.value[:40]}' is neither true nor false", node.start_mark)
    return bool(node.value.lower() == "true")


_SCALARS: tuple[tuple[str, str, Any], ...] = (
    ("null", r"~|null|Null|NULL|", yaml.SafeLoader.construct_yaml_null),
    ("bool", r"true|True|TRUE|false|False|FALSE", _boolean),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _integer),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", _number),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", _number),
)
for _kind, _pattern, _construct in _SCALARS:
    _PlainLoader.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})\Z"), None)
    _PlainLoader.add_constructor(_TAG + _kind, _construct)
    _PlainDumper.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})\Z"), None)
for _class in (_PlainLoader, _PlainDumper):
    _class.add_implicit_resolver(_TAG + "merge", re.compile(r"^<<\Z"), ["<"])
for _kind in ("str", "seq", "map"):
    _PlainLoader.add_constructor(_TAG + _kind, getattr(yaml.SafeLoader, f"construct_yaml_{_kind}"))
