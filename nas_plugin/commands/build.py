"""``nas-plugin build``: compile the native executor ahead of the first search."""

from __future__ import annotations

import argparse

NAME = "build"
HELP = "compile the native executor ahead of the first search"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: the cache is chosen by NAS_PLUGIN_CACHE, the compiler by CXX."""


def run(args: argparse.Namespace) -> int:
    """Builds unless it is built, loads the library and says where it lies."""
    from nas_plugin.execution import build

    tools = build.toolchain()
    path = build.build(tools)
    build.library()
    print(f"{path}: built by {tools.compiler} and loaded")
    return 0
