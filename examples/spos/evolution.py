"""Looks for the best path of a trained supernet by evolution: the second stage of SPOS.

    python examples/spos/evolution.py --supernet runs/spos/supernet.pt --out runs/spos

Under --out come architecture.json and evolution.jsonl, the log. A search that was stopped goes on
with --resume. The same search with NNI: nni.yml.
"""

from __future__ import annotations

if __name__ == "__main__":  # before torch is imported, which takes seconds
    from nas_plugin.signals import handle_signals

    handle_signals()

import argparse
import sys
from pathlib import Path

import torch

from nas_plugin.cli import guarded
from nas_plugin.errors import OptionError
from nas_plugin.evaluation import Budget, search
from nas_plugin.files import make_folder, write_atomic
from nas_plugin.profiling import flops_table
from nas_plugin.progress import Progress
from nas_plugin.scripts import read_supernet, supernet_evaluator, writable_folder
from nas_plugin.space.spaces import spaces
from nas_plugin.strategies import SposEvolution


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--supernet", type=Path, default=Path("supernet.pt"), help="file written by supernet.py")
    add("--data-dir", help="folder that holds the data set's files")
    add("--generations", type=int, default=20)
    add("--population", type=int, default=50)
    add("--top", type=int, default=10, help="parents")
    add("--crossover", type=int, default=25, help="children of two parents per generation")
    add("--mutation", type=int, default=25, help="children of one parent per generation")
    add("--mutation-probability", type=float, default=0.1)
    legal = parser.add_mutually_exclusive_group()
    legal.add_argument("--max-flops", type=float, metavar="M",
                       help="upper limit in millions of FLOPs (two per multiply-add)")  # fmt: skip
    legal.add_argument("--cost-table", help="file written by nas-plugin profile, such as latencies")
    add("--cost-limit", type=float, help="largest cost by --cost-table")
    add(
        "--calibration-batches",
        type=int,
        default=200,
        help="training batches that recalibrate each path's batch norms",
    )
    add("--batch-size", type=int, default=64)
    add("--device", default="auto")
    add("--seed", type=int, default=0)
    add("--resume", action="store_true", help="continue the log under --out")
    add("--out", type=writable_folder, default=Path("."))
    return parser.parse_args(argv)


def evolve(args: argparse.Namespace) -> None:
    state = read_supernet(args.supernet)
    evaluator = supernet_evaluator(
        state,
        data_dir=args.data_dir,
        calibration_batches=args.calibration_batches,
        batch_size=args.batch_size,
        device=args.device,
    )
    make_folder(args.out)
    log = args.out / "evolution.jsonl"
    if log.exists() and not args.resume:
        raise OptionError(f"{log} is an earlier search. Pass --resume to go on, or another --out.")
    table, limit = args.cost_table, args.cost_limit
    if args.max_flops is not None:
        table, limit = str(args.out / "flops.json"), 1e6 * args.max_flops
        sample = torch.zeros(1, *state["data"]["image"])
        flops_table(spaces.get(state["space"])(**state["sizes"]), sample).write(table)
    strategy = SposEvolution(
        evaluator.space,
        population=args.population,
        top=args.top,
        crossover=args.crossover,
        mutation=args.mutation,
        mutation_probability=args.mutation_probability,
        cost_table=table,
        cost_limit=limit,
        seed=args.seed,
    )
    trials = args.population * args.generations
    with Progress(trials, "evolution") as progress:
        found = search(
            evaluator.space, strategy, evaluator, Budget(trials=trials), log=log,
            on_trial=lambda _: progress.update(),
        )  # fmt: skip
    if found.best is None or found.best.outcome is None:
        raise OptionError(f"No path could be evaluated; {log} says why.")
    write_atomic(args.out / "architecture.json", found.best.proposal.architecture.dumps())
    print(
        f"best of {len(found.history)} paths: {found.best.outcome.metrics['default']:.2f} % in "
        f"validation; found architecture: {args.out / 'architecture.json'}"
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: evolve(parse())))
