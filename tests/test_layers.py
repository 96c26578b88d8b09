"""Imports go only downwards, and each third party is imported where it belongs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEVELS = {
    0: ("errors", "signals", "directions", "registry", "parameters", "_lazy", "progress", "files"),
    1: ("choice", "data"),
    2: ("space", "operations", "description", "profiling"),
    3: ("mutators", "execution", "strategies"),
    4: ("runtime", "trainers", "benchmarks", "evaluation"),
    5: ("reporting",),
    6: ("experiment", "config"),
    7: ("commands", "contracts", "scripts", "testing", "cli", "__main__"),
}
LEVEL = {package: level for level, packages in LEVELS.items() for package in packages}
STRANGERS = {"mutators", "execution", "strategies"}
OURS = {"nas_plugin", "search_spaces", "examples", "tests"}


def python_files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yields every imported module, those inside functions too, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            yield node.module, node.lineno
            if node.module == "nas_plugin":
                yield from ((f"nas_plugin.{alias.name}", node.lineno) for alias in node.names)


def package_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "nas_plugin" and len(parts) > 1 else None


def home(path: Path) -> str:
    relative = path.relative_to(ROOT / "nas_plugin")
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", python_files("nas_plugin"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_only_downwards(path: Path) -> None:
    own = home(path)
    if own == "__init__":
        return
    assert own in LEVEL, f"{own} has no level; give it one here and in docs/architecture.md"
    for module, line in imported(path):
        other = package_of(module)
        if other in LEVEL and other != own:
            where = f"{path.relative_to(ROOT)}:{line} imports {module}"
            assert LEVEL[other] <= LEVEL[own], f"{where}, which lies higher"
            assert not {own, other} <= STRANGERS, f"{where}; these never import one another"


@pytest.mark.parametrize(
    "path", python_files("nas_plugin", "search_spaces"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_only_experiments_import_nni_and_nothing_needs_torchvision(path: Path) -> None:
    in_experiment = "experiment" in path.parts
    for module, line in imported(path):
        top = module.split(".")[0]
        where = f"{path.relative_to(ROOT)}:{line}"
        assert top != "nni" or in_experiment, f"{where} imports nni"
        assert top != "torchvision", f"{where} imports torchvision, which the core does without"


@pytest.mark.parametrize(
    "path", python_files("search_spaces", "examples"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_spaces_and_examples_use_public_modules(path: Path) -> None:
    for module, line in imported(path):
        private = [part for part in module.split(".")[1:] if part.startswith("_")]
        assert not private or module.startswith("__"), f"{path}:{line} imports {module}"
        other = package_of(module)
        if other in LEVEL and "search_spaces" in path.parts:
            assert LEVEL[other] <= 3, f"{path}:{line}: a space needs no {module}"


def test_every_package_of_the_tree_has_a_level() -> None:
    found = {
        entry.stem
        for entry in (ROOT / "nas_plugin").iterdir()
        if (entry.suffix == ".py" or (entry / "__init__.py").exists()) and entry.stem != "__init__"
    }

    assert found <= set(LEVEL)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import nas_plugin; nas_plugin.SearchSpace; nas_plugin.Architecture", "torch"),
        ("import nas_plugin.benchmarks, nas_plugin.strategies", "torch"),
        ("from nas_plugin.cli import main; main([])", "torch"),
        ("import nas_plugin.trainers, nas_plugin.reporting.callbacks, search_spaces.darts", "nni"),
    ],
)
def test_what_is_heavy_loads_on_first_use(statement: str, absent: str) -> None:
    code = f"{statement}\nimport sys; sys.exit({absent!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr or f"{absent} was loaded"


def test_every_public_name_resolves() -> None:
    import nas_plugin

    for name in nas_plugin.__all__:
        assert getattr(nas_plugin, name) is not None
    found = set(nas_plugin.__all__)
    assert {"load_data", "accuracy"} <= found
    for package in ("mutators", "trainers"):
        names = importlib.import_module(f"nas_plugin.{package}").__all__
        assert {name for name in names if name.endswith(("Mutator", "Trainer"))} <= found
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        nas_plugin.Nothing  # noqa: B018


def test_type_checkers_see_every_public_name() -> None:
    import nas_plugin

    tree = ast.parse((ROOT / "nas_plugin" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}

    assert seen == nas_plugin._EXPORTS
