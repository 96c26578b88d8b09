"""``nas-plugin bench``: import, inspect and query tabular benchmarks."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from nas_plugin.errors import OptionError

NAME = "bench"
HELP = "import, inspect, query and compare on tabular benchmarks"

_COMPARE = "nas_plugin.commands.bench_compare"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    commands = parser.add_subparsers(dest="bench_command", required=True, metavar="COMMAND")
    _add_import(commands.add_parser("import", help="read result files into the compact form"))
    info = commands.add_parser("info", help="show what a benchmark holds")
    info.add_argument("benchmark", nargs="?", help="name or .nastab file; none lists the names")
    info.add_argument("--verify", action="store_true", help="read all data and check its SHA-256")
    info.add_argument("--json", action="store_true", help="print the header as JSON")
    info.set_defaults(bench_run=_info)
    query = commands.add_parser("query", help="print the result of an architecture")
    _add_question(query, split="valid")
    query.add_argument("architecture", help="string, row, hash, JSON text or JSON file")
    query.set_defaults(bench_run=_query)
    top = commands.add_parser("top", help="print the best architectures")
    _add_question(top, split="valid")
    top.add_argument("-n", type=int, default=10, help="how many (default 10)")
    top.set_defaults(bench_run=_top)
    if importlib.util.find_spec(_COMPARE) is not None:
        compare = importlib.import_module(_COMPARE)
        mounted = commands.add_parser("compare", help="compare search strategies")
        compare.add_arguments(mounted)
        mounted.set_defaults(bench_run=compare.run)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen subcommand."""
    chosen: Callable[[argparse.Namespace], int] = args.bench_run
    return chosen(args)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=".pth, .pickle.pbz2, .tfrecord, .npz, .csv, or a folder")
    parser.add_argument("--out", help="the file to write (default: into the cache, by name)")
    parser.add_argument("--release", help="full name, e.g. nasbench201-v1.1")
    parser.add_argument("--metrics", help="own tables: further metric columns, comma-separated")
    parser.add_argument("--minimize", help="own tables: metrics that are better when lower")
    parser.set_defaults(bench_run=_import)


def _add_question(parser: argparse.ArgumentParser, *, split: str) -> None:
    parser.add_argument("benchmark", help="name or .nastab file")
    parser.add_argument("--dataset", help="default: the benchmark's first")
    parser.add_argument("--epochs", type=int, help="default: the longest schedule")
    parser.add_argument("--split", default=split, help=f"default: {split}")
    parser.add_argument("--metric", default="accuracy", help="default: accuracy")
    parser.add_argument("--seed", type=int, help="one run; default: the mean")


def _import(args: argparse.Namespace) -> int:
    from nas_plugin.benchmarks.importers import import_benchmark, import_user_table
    from nas_plugin.benchmarks.read import read_benchmark

    if args.metrics or args.minimize:
        if not args.source.endswith((".csv", ".csv.gz", ".npz")):
            raise OptionError("--metrics and --minimize are for tables of one's own (CSV or npz).")
        path = import_user_table(
            args.source,
            args.out,
            name=args.release,
            metrics=_names(args.metrics),
            minimize=_names(args.minimize),
        )
    else:
        path = import_benchmark(args.source, args.out, release=args.release)
    benchmark = read_benchmark(path)
    print(
        f"{benchmark.name}: {len(benchmark):,} rows, {len(benchmark.columns())} columns -> {path}"
    )
    print(f"choices: {', '.join(benchmark.space)}")
    print(f"metrics: {', '.join(sorted({c.metric for c in benchmark.columns()}))}")
    return 0


def _info(args: argparse.Namespace) -> int:
    from nas_plugin.benchmarks.locate import known_names

    if args.benchmark is None:
        print("\n".join(known_names()))
        return 0
    benchmark = _open(args.benchmark)
    table = benchmark.table
    if args.verify:
        table.verify()
    if args.json:
        json.dump(table.header, sys.stdout, indent=2, sort_keys=True)
        print()
        return 0
    print(f"{benchmark.name}  ({benchmark.release})")
    print(f"file      {table.path}, {table.path.stat().st_size / 2**20:.1f} MiB")
    print(f"data      SHA-256 {table.header['data_sha256']}{' (verified)' if args.verify else ''}")
    for name, digest in table.header["source"].items():
        print(f"source    {name} {digest}")
    print(f"rows      {len(benchmark):,} of {benchmark.space.size:,} in the space")
    print(f"data sets {', '.join(benchmark.datasets) or 'one'}")
    by_metric = Counter(column.metric for column in benchmark.columns())
    for metric in sorted(by_metric):
        own = [c for c in benchmark.columns() if c.metric == metric]
        parts = (
            ("epochs", {c.epochs for c in own}),
            ("split", {c.split for c in own}),
            ("seed", {c.seed for c in own}),
        )
        said = [f"{word} {_listed(values)}" for word, values in parts if values != {None}]
        print(f"  {metric}: {'; '.join(said) or 'one value a row'}")
    for note in table.header["notes"]:
        print(f"note: {note}")
    return 0


def _query(args: argparse.Namespace) -> int:
    benchmark = _open(args.benchmark)
    row = benchmark.index(_architecture(args.architecture))
    value = benchmark.query(row, **_asked(args))
    print(f"{value:.6g}")
    return 0


def _top(args: argparse.Namespace) -> int:
    if args.n < 1:
        raise OptionError(f"-n must be at least 1, got {args.n}.")
    benchmark = _open(args.benchmark)
    print(f"# {benchmark.name}: {args.metric}, split {args.split}")
    for architecture, value in benchmark.top(args.n, **_asked(args)):
        text = json.dumps(architecture.to_json())
        print(f"{value:.6g}\t{benchmark.index(architecture)}\t{text}")
    return 0


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    names = ("dataset", "epochs", "split", "metric", "seed")
    return {name: getattr(args, name) for name in names}


def _open(name: str) -> Any:
    from nas_plugin.benchmarks import open_benchmark

    return open_benchmark(name)


def _architecture(text: str) -> Any:
    """Understands a row, JSON, a JSON file; anything else is the benchmark's own spelling."""
    from nas_plugin.files import parse_json, read_json

    if text.isdecimal():
        return int(text)
    if text.lstrip().startswith("{"):
        return parse_json(text, "The architecture")
    return read_json(text) if text.endswith(".json") else text


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _listed(values: set[Any]) -> str:
    return ", ".join("mean" if value is None else str(value) for value in sorted(values, key=str))
