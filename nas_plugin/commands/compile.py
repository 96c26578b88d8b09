"""``nas-plugin compile``: the module of a description, or what each of its nodes costs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas_plugin.commands.profile import shape

if TYPE_CHECKING:
    from nas_plugin.description.costs import Cost

NAME = "compile"
HELP = "compile a description into a PyTorch module and show it, or check what its nodes cost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("source", metavar="SPACE|FILE", help="name of a search space, or a description in YAML")
    add("--check", action="store_true", help="print shape, parameters and FLOPs of every node")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="a parameter of the file or argument of the space; repeat for more")  # fmt: skip
    add("--input", type=shape, metavar="C,H,W", help="shape of a sample, if the file gives none")


def run(args: argparse.Namespace) -> int:
    """Prints the module, or a table of its nodes."""
    from nas_plugin.choice import keyed_blocks
    from nas_plugin.commands.described import graph_of
    from nas_plugin.description import compile_graph
    from nas_plugin.description.costs import Cost, node_costs
    from nas_plugin.space.collect import search_space

    graph = graph_of(args.source, args.settings)
    model = compile_graph(graph, args.input)
    if not args.check:
        print(model)
        return 0
    rows = [("node", "shape", "parameters", "FLOPs per sample")]
    total = Cost()
    for name, (found, cost) in node_costs(graph, args.input).items():
        rows.append((name, "x".join(map(str, found)), f"{cost.params:,}", _range(cost)))
        total += cost
    rows.append(("in all", "", f"{total.params:,}", _range(total)))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        first, *others = (
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())
    if keyed_blocks(model):
        space = search_space(model)
        print(f"{len(space)} choices, {space.size:,} architectures")
    return 0


def _range(cost: Cost) -> str:
    if cost.least == cost.most:
        return f"{cost.most:,}"
    return f"{cost.least:,} to {cost.most:,}"
