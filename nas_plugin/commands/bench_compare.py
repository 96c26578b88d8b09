"""``nas-plugin bench compare``: strategies on a table, many seeds, one protocol."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
from pathlib import Path

from nas_plugin.errors import OptionError

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--benchmark", default="nasbench201", help="name or .nastab file")
    parser.add_argument(
        "--strategies",
        nargs="+",
        required=True,
        metavar="NAME[:OPTION=VALUE,...]",
        help="for example: random regularized_evolution:repeats=true "
        "local_search:warm_start=zc_synflow zero_cost:score=zc_naswot",
    )
    parser.add_argument("--seeds", type=int, default=500, help="runs per strategy (default 500)")
    parser.add_argument("--first-seed", type=int, default=0, help="default 0")
    parser.add_argument("--dataset", help="data set of the signal (default: the table's first)")
    parser.add_argument("--epochs", type=int, help="schedule of the signal (default: the shortest)")
    parser.add_argument("--budget-seconds", type=float, help="simulated seconds per run")
    parser.add_argument("--budget-trials", type=int, help="evaluations per run")
    parser.add_argument(
        "--cost", metavar="METRIC", help="metric charged to a run, such as trainval_once_seconds"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--out", default="runs/compare", help="folder that results are written to")


def run(args: argparse.Namespace) -> int:
    """Compares, prints the table, and writes runs.jsonl, table.md and regret.png."""
    from nas_plugin.benchmarks import open_benchmark
    from nas_plugin.evaluation.budget import Budget
    from nas_plugin.evaluation.compare import Protocol, compare, parse_entrant, splits_of
    from nas_plugin.evaluation.compare_report import curves, protocol_lines, table_lines
    from nas_plugin.files import check_folder, write_atomic
    from nas_plugin.progress import Progress

    workers = os.cpu_count() or 1 if args.workers is None else args.workers
    if args.seeds < 1 or args.first_seed < 0 or workers < 1:
        raise OptionError(
            "--seeds and --workers must be at least 1 and --first-seed at least 0, got "
            f"{args.seeds}, {workers} and {args.first_seed}."
        )
    budget = Budget(trials=args.budget_trials, simulated_seconds=args.budget_seconds)
    protocol = Protocol.make(
        args.benchmark, dataset=args.dataset, epochs=args.epochs, budget=budget, cost=args.cost
    )
    entrants = [parse_entrant(text) for text in dict.fromkeys(args.strategies)]
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    folder = Path(args.out)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    with (
        (folder / "runs.jsonl").open("w", encoding="utf-8") as stream,
        Progress(len(entrants) * len(seeds), "compare") as progress,
    ):
        for record in compare(protocol, entrants, seeds, workers=workers):
            stream.write(json.dumps(record, sort_keys=True) + "\n")
            records.append(record)
            progress.update()
    order = {entrant.label: place for place, entrant in enumerate(entrants)}
    records.sort(key=lambda record: (order[record["strategy"]], record["seed"]))
    text = "\n".join([*protocol_lines(protocol, seeds), "", *table_lines(protocol, records)])
    print(text)
    write_atomic(folder / "table.md", text + "\n")
    if importlib.util.find_spec("matplotlib") is None:
        _log.warning("No picture: matplotlib is not installed (pip install 'nas-plugin[plots]').")
        return 0
    from nas_plugin.reporting.plots import plot_regret

    drawn = curves(protocol, records)
    if not drawn:
        _log.warning("No picture: the table holds no result of what was found.")
        return 0
    table = open_benchmark(protocol.benchmark)
    of = f" on {protocol.dataset}" if protocol.dataset else ""
    timed = records[0]["simulated_seconds"] is not None
    plot_regret(
        drawn,
        folder / "regret.png",
        xlabel="simulated seconds" if timed else "evaluations",
        ylabel=f"{splits_of(table)[-1]} regret{of} (points)",
        title=table.name,
        # A free table, or one whose best everybody finds, has nothing for a logarithm.
        log_x=all(times[0] > 0 for times, *_ in drawn.values()),
        log_y=any(regret > 0 for _, mean, *_ in drawn.values() for regret in mean),
    )
    return 0
