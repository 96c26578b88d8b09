"""What ``describe`` and ``compile`` share: a graph from a file or a space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_plugin.errors import OptionError

if TYPE_CHECKING:
    from nas_plugin.description import ModelGraph


def graph_of(source: str, settings: list[str], architecture: str | None = None) -> ModelGraph:
    """Returns the graph of a description file or a search space.

    Args:
        source: Path of a YAML file, or name of a space.
        settings: Texts ``KEY=VALUE``: parameters of the file, or arguments of the space.
        architecture: Path of an architecture file.

    Raises:
        OptionError: If a setting is none, or the space takes none of the name.
    """
    from nas_plugin.description import describe, read_graph
    from nas_plugin.parameters import check_names
    from nas_plugin.space.spaces import spaces

    given = dict(_setting(text) for text in settings)
    if is_file(source):
        graph = read_graph(source, **given)
        return graph if architecture is None else describe(graph, architecture).graph
    builder = spaces.get(source)
    check_names(builder, given)
    return describe(builder(**given), architecture).graph


def is_file(source: str) -> bool:
    """Says whether a word is meant as a file, rather than as the name of a space."""
    return source.endswith((".yaml", ".yml")) or "/" in source or Path(source).is_file()


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OptionError(f"--set takes KEY=VALUE, got '{text}'.")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value, value)
