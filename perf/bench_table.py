"""Measures a tabular benchmark: opening, memory, single and vectorised queries.

    python perf/bench_table.py [--benchmark nasbench201]

Each figure is the best of several runs; opening and memory are measured in a fresh process that
has already imported the package.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from nas_plugin.benchmarks import Benchmark, open_benchmark
from nas_plugin.space import SearchSpace, mutate

_OPENING = """
import json, sys, time
import numpy
import nas_plugin.benchmarks as benchmarks
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
before, start = resident(), time.perf_counter()
table = benchmarks.open_benchmark(sys.argv[1])
table.query(table.architecture(0))
seconds = time.perf_counter() - start
opened = resident()
for column in table.columns():
    table.table.values(column).sum()
print(json.dumps([seconds * 1e3, (opened - before) / 1024, (resident() - before) / 1024]))
print("torch" in sys.modules)
"""


def measure_opening(name: str) -> tuple[float, float, float]:
    """Returns ms, MiB right after opening, MiB after reading every column."""
    open_benchmark(name)  # imports the raw file the first time, which is not what is measured
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    results = []
    for _ in range(5):
        command = [sys.executable, "-c", _OPENING, name]
        out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        lines = out.stdout.splitlines()
        if lines[1] != "False":
            raise RuntimeError("opening a table imported torch")
        results.append(json.loads(lines[0]))
    return tuple(float(min(column)) for column in zip(*results, strict=True))  # type: ignore[return-value]


def measure_single(benchmark: Benchmark, n: int = 50_000) -> float:
    """Returns queries a second, architectures in a random order."""
    rows = random.Random(0).choices(range(len(benchmark)), k=n)
    architectures = [benchmark.architecture(row) for row in rows]
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for architecture in architectures:
            benchmark.query(architecture, split="valid")
        best = min(best, time.perf_counter() - start)
    return n / best


def measure_vectorised(benchmark: Benchmark, n: int = 5_000_000) -> float:
    """Returns rows a second, gathered in a random order from the validation column."""
    rows = np.random.default_rng(0).integers(0, len(benchmark), n)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        benchmark.column(split="valid")[rows]
        best = min(best, time.perf_counter() - start)
    return n / best


def measure_mutation(space: SearchSpace, n: int = 40_000) -> float:
    """Returns seconds for 40,000 mutations, one after the other."""
    rng = random.Random(0)
    architecture = space.sample(rng)
    start = time.perf_counter()
    for _ in range(n):
        architecture = mutate(space, architecture, rng)
    return time.perf_counter() - start


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", default="nasbench201")
    name = parser.parse_args().benchmark
    milliseconds, opened, read = measure_opening(name)
    benchmark = open_benchmark(name)
    print(f"benchmark          {benchmark.name}, {len(benchmark):,} rows")
    print(f"open + 1 query     {milliseconds:.1f} ms")
    print(
        f"memory             {opened:.1f} MiB after opening, {read:.1f} MiB with all columns read"
    )
    print(f"single queries     {measure_single(benchmark):,.0f} /s")
    print(f"vectorised         {measure_vectorised(benchmark):,.0f} rows/s")
    print(f"40,000 mutations   {measure_mutation(benchmark.space):.2f} s")


if __name__ == "__main__":
    main()
