"""Where an import goes, and which release it is."""

from __future__ import annotations

from pathlib import Path

from nas_plugin.benchmarks.read import cache_folder
from nas_plugin.benchmarks.table import SUFFIX
from nas_plugin.errors import OptionError


def choose_release(path: Path, release: str | None, allowed: tuple[str, ...]) -> str:
    """Returns `release`, or the first that is allowed.

    Raises:
        OptionError: If the file holds others only.
    """
    if release is None:
        return allowed[0]
    if release not in allowed:
        raise OptionError(f"{path.name} holds {' and '.join(allowed)}, not '{release}'.")
    return release


def target_path(out: Path | None, name: str) -> Path:
    """Returns `out`, or the place in the cache where `name` is looked for."""
    return cache_folder() / f"{name}{SUFFIX}" if out is None else out
