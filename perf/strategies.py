"""Seconds that strategies take for many seeds of NAS-Bench-201's protocol, on one core.

    python perf/strategies.py --strategies random regularized_evolution --seeds 500

A run is what a comparison and a tuner do: `ask`, look the proposal up, `tell`, until 12,000
simulated seconds are spent. The time is that of the processor.
"""

from __future__ import annotations

import argparse
import time

from nas_plugin.benchmarks import open_benchmark
from nas_plugin.evaluation import Budget, TableEvaluator, search
from nas_plugin.strategies import strategies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--benchmark", default="nasbench201")
    add("--strategies", nargs="+", default=["random", "regularized_evolution", "local_search"])
    add("--seeds", type=int, default=500)
    add("--budget-seconds", type=float, default=12000)
    args = parser.parse_args()
    table = open_benchmark(args.benchmark)
    evaluator = TableEvaluator(table, epochs=12)
    budget = Budget(simulated_seconds=args.budget_seconds)
    for name in args.strategies:
        proposals, start = 0, time.process_time()
        for seed in range(args.seeds):
            strategy = strategies.get(name)(table.space, seed=seed, sampling=table.sample)
            proposals += len(search(table.space, strategy, evaluator, budget).history)
        spent = time.process_time() - start
        print(
            f"{name}: {args.seeds} seeds, {proposals:,} proposals in {spent:.2f} s, "
            f"{1e6 * spent / proposals:.0f} us each",
            flush=True,
        )


if __name__ == "__main__":
    main()
