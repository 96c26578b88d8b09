"""What tests compare the library with shares no code with it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ORACLES = sorted(TESTS.rglob("oracle*.py"))


def imported(source: str) -> set[str]:
    """Returns the top packages and modules that a source imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found.update(str(a.value) for a in node.args if isinstance(a, ast.Constant))
    return found


def is_shared(name: str) -> bool:
    """Says whether an import shares code with the library, or could: tests do, oracles do not."""
    if name.startswith("."):
        return True
    top, _, _ = name.partition(".")
    return top == "nas_plugin" or (top == "tests" and "oracle" not in name)


@pytest.mark.parametrize("path", ORACLES, ids=lambda path: str(path.relative_to(TESTS)))
def test_an_oracle_imports_nothing_of_the_library(path: Path) -> None:
    assert [name for name in sorted(imported(path.read_text())) if is_shared(name)] == []


def test_the_check_sees_every_way_to_import() -> None:
    source = (
        "import numpy\ndef f():\n    from nas_plugin.space import Choice\n"
        "import nas_plugin.strategies as s\nimportlib.import_module('nas_plugin.choice')\n"
        "from . import x\nfrom tests.strategies.test_front import beats\n"
        "from tests.strategies.oracle_fronts import beats\n"
    )
    assert len([name for name in imported(source) if is_shared(name)]) == 5
    assert ORACLES
