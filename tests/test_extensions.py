"""What another distribution adds by entry points is known by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_plugin.data.dataset import data_sets
from nas_plugin.errors import OptionError
from nas_plugin.execution.executor import executors
from nas_plugin.mutators import mutators
from nas_plugin.registry import Registry
from nas_plugin.strategies import strategies
from nas_plugin.trainers import regularizers

CODE = """
from nas_plugin.execution import Executor
from nas_plugin.mutators import RandomMutator
from nas_plugin.strategies import RandomSearch
from nas_plugin.trainers import Regularizer

class OutsideMutator(RandomMutator): pass
class OutsideStrategy(RandomSearch): pass
class OutsideExecutor(Executor): pass
class OutsideRegularizer(Regularizer): pass
def outside_data(**options): return "outside"
"""
ENTRIES = """
[nas_plugin.mutators]
outside = outside_of_nas:OutsideMutator
darts = outside_of_nas:OutsideMutator
[nas_plugin.strategies]
outside = outside_of_nas:OutsideStrategy
[nas_plugin.data_sets]
outside = outside_of_nas:outside_data
[nas_plugin.executors]
outside = outside_of_nas:OutsideExecutor
[nas_plugin.regularizers]
outside = outside_of_nas:OutsideRegularizer
"""
REGISTRIES = {
    "OutsideMutator": mutators,
    "OutsideStrategy": strategies,
    "outside_data": data_sets,
    "OutsideExecutor": executors,
    "OutsideRegularizer": regularizers,
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs a distribution for one test."""
    info = tmp_path / "outside_of_nas-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-of-nas\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "outside_of_nas.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("outside_of_nas", None)
    for registry in REGISTRIES.values():
        registry._members.pop("outside", None)


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_member_of_another_distribution_is_found_by_name(name: str, installed: None) -> None:
    registry: Registry[object] = REGISTRIES[name]  # type: ignore[assignment]

    assert "outside" in registry.names() and "outside_of_nas" not in sys.modules
    assert getattr(registry.get("outside"), "__name__", None) == name
    assert registry.get("outside") is registry.get("outside")


def test_a_built_in_name_is_not_taken_over(installed: None) -> None:
    assert mutators.get("darts").__module__ == "nas_plugin.mutators.darts"
    with pytest.raises(OptionError, match="taken"):
        mutators.add("darts", mutators.get("outside"))
