"""Defaults are written down twice: whoever changes one changes its card and this list."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_plugin.parameters import parameters_of

PACKAGES = ("choice", "data", "evaluation", "mutators", "space", "strategies", "trainers")
WRITTEN: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())


def is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(map(is_plain, value))
    return isinstance(value, bool | int | float | str)


def found() -> dict[str, dict[str, Any]]:
    """Returns the defaults of what the packages offer, where they are numbers, flags or texts."""
    every: dict[str, dict[str, Any]] = {}
    for package in PACKAGES:
        module = importlib.import_module(f"nas_plugin.{package}")
        for name in module.__all__:
            what = getattr(module, name)
            if not (inspect.isclass(what) or inspect.isfunction(what)):
                continue
            defaults = {
                key: list(p.default) if isinstance(p.default, tuple) else p.default
                for key, p in parameters_of(what).items()
                if not p.required and is_plain(p.default)
            }
            if defaults:
                every[f"{package}.{name}"] = defaults
    return every


FOUND = found()


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_defaults_are_those_that_are_written_down(name: str) -> None:
    known = {key: FOUND[name].get(key) for key in WRITTEN[name]}
    assert known == WRITTEN[name]
    assert {k: type(v) for k, v in known.items()} == {k: type(v) for k, v in WRITTEN[name].items()}
