"""No circle of imports, and one meaning a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Packages whose own ``__init__`` gathers names; inside a package modules import one another.
PACKAGES = ("nas_plugin", "search_spaces")


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def sources(root: Path) -> dict[str, str]:
    """Returns module → text."""
    return {
        module_name(path.relative_to(root)): path.read_text()
        for package in PACKAGES
        for path in (root / package).rglob("*.py")
    }


def imported(text: str, modules: Mapping[str, str]) -> Iterator[str]:
    """Yields what is imported anywhere: under TYPE_CHECKING and inside functions, too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else node.module


def circle(modules: Mapping[str, str]) -> list[str]:
    """Returns the modules of a circle, each importing the next; empty if there is none."""
    graph = {
        name: sorted({found for found in imported(text, modules) if found in modules} - {name})
        for name, text in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_imports_form_no_circle() -> None:
    assert not circle(sources(ROOT))


@pytest.mark.parametrize(
    "line",
    [
        "import nas_plugin.b",
        "from nas_plugin import b",
        "from nas_plugin.b import x",
        "if TYPE_CHECKING:\n    from nas_plugin.b import x",
        "def f():\n    from nas_plugin.b import x",
    ],
)
def test_a_circle_is_found_however_it_is_written(line: str) -> None:
    modules = {"nas_plugin.a": line, "nas_plugin.b": "from nas_plugin.c import y"}

    assert not circle({**modules, "nas_plugin.c": "import json"})
    found = circle({**modules, "nas_plugin.c": "from nas_plugin.a import z"})
    assert set(found) == {"nas_plugin.a", "nas_plugin.b", "nas_plugin.c"}


def test_a_class_or_type_has_one_home_and_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for module, text in sources(ROOT).items():
        for node in ast.parse(text).body:
            names: list[str] = []
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in names:
                # Constants may share a name; they stay where they are.
                if name[0].isupper() and not name.isupper():
                    homes[name].append(module)

    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
