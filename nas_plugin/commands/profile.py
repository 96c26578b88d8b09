"""``nas-plugin profile``: what networks and their candidates cost, measured or published."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_plugin.errors import OptionError

if TYPE_CHECKING:
    from nas_plugin.profiling import CostTable

NAME = "profile"
HELP = "count or measure what a space's networks and candidates cost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("--space", help="name of a search space")
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="sizes",
        help="an argument of the space, such as classes=10; repeat for more")  # fmt: skip
    add("--input", type=shape, metavar="N,C,H,W", help="shape of a batch, such as 1,3,32,32")
    add("--arc-checkpoint", help="architecture file: print the cost of this network")
    measured = parser.add_mutually_exclusive_group()
    measured.add_argument(
        "--latency", action="store_true", help="measure every candidate on this machine, in ms"
    )
    measured.add_argument(
        "--flops", action="store_true", help="count every candidate's floating-point operations"
    )
    measured.add_argument("--table", type=Path, help="a cost table written earlier")
    measured.add_argument(
        "--published", type=Path, help="npz file of measured latencies, one array per device"
    )
    add(
        "--of",
        metavar="DEVICE",
        help="with --published: the device whose latencies to use; without it, list the devices",
    )
    add("--candidates", metavar="A,B,...",
        help="with --published: names of operations, by number (default op_0,...)")  # fmt: skip
    add("--device", default="cpu", help="with --latency: where to measure (default cpu)")
    add("--repeats", type=int, default=20, help="with --latency: passes per candidate (default 20)")
    add("--out", type=Path, help="the cost table to write, JSON")


def run(args: argparse.Namespace) -> int:
    """Prints what was asked for, and writes the cost table."""
    if args.table is not None:
        from nas_plugin.space.cost_table import CostTable

        return _finish(args, CostTable.read(args.table))
    if args.published is not None:
        return _published(args)
    if args.space is None or args.input is None:
        raise OptionError("Say what to profile: --space NAME --input N,C,H,W, or a --table.")
    return _space(args)


def _space(args: argparse.Namespace) -> int:
    import torch

    from nas_plugin.profiling import flops_table, latency_table, profile
    from nas_plugin.runtime import pick_device
    from nas_plugin.space.collect import search_space
    from nas_plugin.space.fix import apply_fixed_architecture, read_architecture
    from nas_plugin.space.spaces import spaces

    device = pick_device(args.device)
    model = _made(spaces.get(args.space), args.space, args.sizes).to(device)
    x = torch.randn(args.input, device=device)
    if args.latency:
        return _finish(args, latency_table(model, x, repeats=args.repeats))
    if args.flops:
        return _finish(args, flops_table(model, x))
    if args.out is not None:
        raise OptionError("--out takes a cost table: add --latency or --flops.")
    space = search_space(model)
    print(f"{args.space}: {len(space)} choices, {space.size:.3g} architectures")
    print(f"supernet       {sum(p.numel() for p in model.parameters()):,} parameters")
    chosen = space.first() if args.arc_checkpoint is None else args.arc_checkpoint
    child = apply_fixed_architecture(model, read_architecture(chosen))
    name = "all first     " if args.arc_checkpoint is None else args.arc_checkpoint
    print(f"{name} {profile(child, args.input[1:])}, each sample")
    return 0


def _published(args: argparse.Namespace) -> int:
    from nas_plugin.files import read_npz
    from nas_plugin.profiling.published import devices_of, fit_cost_table, latency_by_index

    if args.of is None:
        print("\n".join(devices_of(args.published)))
        return 0
    operations = read_npz(args.published).get("arch")
    if operations is None:
        if args.arc_checkpoint is None or args.out is not None:
            raise OptionError(
                f"{args.published} holds whole architectures in the order of NAS-Bench-201, no "
                "operations to make a table of. Give --arc-checkpoint to look one up."
            )
        from nas_plugin.benchmarks import open_benchmark
        from nas_plugin.space.fix import read_architecture

        latency = latency_by_index(args.published, args.of, open_benchmark("nasbench201").index)
        print(f"{args.arc_checkpoint} {latency(read_architecture(args.arc_checkpoint)):.6g} ms")
        return 0
    places = operations.shape[1] if operations.ndim == 2 else 0
    names = [f"op_{i}" for i in range(int(operations.max()) + 1)]
    if args.candidates:
        names = args.candidates.split(",")
    keys = [f"block_{i}" for i in range(places)]
    table, missed = fit_cost_table(args.published, args.of, keys, names)
    print(f"fitted on {len(operations):,} architectures; misses them by {missed:.3g} ms (rms)")
    return _finish(args, table)


def _finish(args: argparse.Namespace, table: CostTable) -> int:
    """Writes the table or the cost of one architecture, and prints a summary."""
    from nas_plugin.space.fix import read_architecture

    if args.out is not None:
        table.write(args.out)
        print(f"{args.out}: {len(table.costs)} choices")
    if args.arc_checkpoint is not None:
        architecture: Mapping[str, Any] = read_architecture(args.arc_checkpoint)
        print(f"{args.arc_checkpoint} {table(_checked(table, architecture)):.6g} {table.unit}")
        return 0
    print(f"fixed {table.fixed:.6g} {table.unit}")
    for key, candidates in table.costs.items():
        shown = ", ".join(f"{name} {cost:.4g}" for name, cost in candidates.items())
        print(f"{key}: {shown}")
    return 0


def _checked(table: CostTable, architecture: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, value in architecture.items():
        known = table.costs.get(key)
        if known is not None and not isinstance(value, list) and str(value) not in known:
            raise OptionError(f"The table has no cost of '{value}' in '{key}', only {list(known)}.")
    return architecture


def _made(builder: Callable[..., Any], space: str, sizes: list[str]) -> Any:
    """Returns the space's model with the sizes of ``--set``."""
    known = list(inspect.signature(builder).parameters)
    options: dict[str, Any] = {}
    for text in sizes:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise OptionError(f"--set {text}: '{space}' takes {', '.join(known)}, as KEY=VALUE.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    try:
        return builder(**options)
    except TypeError as error:
        raise OptionError(f"'{space}' cannot be made with {options}: {error}.") from error


def shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected numbers like 1,3,32,32, got '{text}'"
        ) from error
    if len(sizes) < 2 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"expected at least two positive numbers, got '{text}'")
    return sizes
