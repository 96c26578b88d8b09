"""``nas-plugin describe``: a space, a file or a found architecture as YAML, and as a drawing."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "describe"
HELP = "print the description of a search space, a file, or an architecture found in it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("source", metavar="SPACE|FILE", help="name of a search space, or a description in YAML")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="a parameter of the file or argument of the space; repeat for more")  # fmt: skip
    add("--architecture", metavar="FILE", help="an architecture file: its choices are made")
    add("--out", type=Path, metavar="FILE", help="write the description there")
    add("--draw", type=Path, metavar="FILE", help="draw the graph there, as SVG")


def run(args: argparse.Namespace) -> int:
    """Prints the description, or writes it and its drawing."""
    from nas_plugin.commands.described import graph_of
    from nas_plugin.description import to_yaml, write_graph
    from nas_plugin.files import write_atomic
    from nas_plugin.reporting.graph_svg import draw_graph

    graph = graph_of(args.source, args.settings, args.architecture)
    if args.draw is not None:
        write_atomic(args.draw, draw_graph(graph, Path(args.source).stem))
        print(f"{args.draw}: {graph!r}")
    if args.out is not None:
        write_graph(graph, args.out)
        print(f"{args.out}: {graph!r}")
    if args.out is None and args.draw is None:
        print(to_yaml(graph), end="")
    return 0
