"""The tables and curves of a comparison."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from nas_plugin.benchmarks.locate import open_benchmark
from nas_plugin.evaluation.compare import WARM_POOL, WARM_STARTS, Protocol, splits_of

SeedRun = Mapping[str, Any]
#: Times, and at each the mean and the ends of a band.
RegretCurve = tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]

_POINTS = 200


def protocol_lines(protocol: Protocol, seeds: Sequence[int]) -> list[str]:
    """States the release and the protocol."""
    table = open_benchmark(protocol.benchmark)
    budget = protocol.budget
    charged = f"`{protocol.cost}`" if protocol.cost else "training and validation"
    limits = [
        f"{budget.simulated_seconds:,.0f} simulated seconds ({charged}; the evaluation that would "
        "exceed them is discarded)"
        if budget.simulated_seconds is not None
        else "",
        f"{budget.trials:,} evaluations" if budget.trials is not None else "",
        f"{budget.seconds:,.0f} seconds of the clock" if budget.seconds is not None else "",
    ]
    of = f" of {protocol.dataset}" if protocol.dataset else ""
    after = f" after {protocol.epochs} epochs" if protocol.epochs else ""
    reported = table.columns()
    longest = max((c.epochs or 0 for c in reported if c.split == splits_of(table)[-1]), default=0)
    return [
        f"Release: {table.name} ({table.release}).",
        f"Signal: validation accuracy{of}{after}. Budget: {' and '.join(filter(None, limits))}.",
        f"Seeds {seeds[0]} to {seeds[-1]}. Reported: the best by the signal"
        + (f", trained for {longest} epochs" if longest else "")
        + "; mean ± standard deviation over the seeds, accuracy in percent.",
        "Compare means by their standard error: the deviation divided by the root of the number of "
        f"seeds, here {1 / math.sqrt(len(seeds)):.3f} of it.",
        f"A warm start is the best {WARM_STARTS} of {WARM_POOL:,} random architectures by a "
        "zero-cost score of the table.",
    ]


def table_lines(protocol: Protocol, records: Sequence[SeedRun]) -> list[str]:
    """Returns the results as a table in Markdown; zero-cost rows are kept apart."""
    datasets = list(records[0]["report"])
    splits = splits_of(open_benchmark(protocol.benchmark))
    columns = [f"{dataset} {split}" for dataset in datasets for split in splits]
    head = ["strategy", "evaluations", "signal", *columns]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    labels = list(dict.fromkeys(record["strategy"] for record in records))
    by_label = {x: [r for r in records if r["strategy"] == x] for x in labels}
    plain = [x for x in labels if not by_label[x][0]["zero_cost"]]
    scored = [x for x in labels if by_label[x][0]["zero_cost"]]
    for label in plain + scored:
        if scored and label == scored[0]:
            lines.append(_row(["*with zero-cost scores*", *[""] * (len(head) - 1)]))
        own = by_label[label]
        cells = [
            _spread([r["report"][dataset][split] for r in own])
            for dataset in datasets
            for split in splits
        ]
        evaluations = f"{statistics.fmean(r['evaluations'] for r in own):.1f}"
        signal = _spread([r["signal"] for r in own])
        lines.append(_row([f"`{label}`", evaluations, signal, *cells]))
    optima = [
        f"{table_optimum(protocol, dataset, split):.2f}" for dataset in datasets for split in splits
    ]
    lines.append(_row(["*best of the table*", "", "", *optima]))
    return lines


def table_optimum(protocol: Protocol, dataset: str | None, split: str) -> float:
    """Returns the best value of the table at its longest schedule."""
    known = None if dataset == "all" else dataset
    return open_benchmark(protocol.benchmark).optimum(dataset=known, split=split)[1]


def curves(protocol: Protocol, records: Sequence[SeedRun]) -> dict[str, RegretCurve]:
    """Returns the regret of the incumbent over the cost, for `plot_regret`.

    The regret is that of the last split that is reported: test, where the table has it. The band is
    the middle half of the seeds. A curve begins where every seed has an incumbent.
    """
    reported = splits_of(open_benchmark(protocol.benchmark))[-1]
    optimum = table_optimum(protocol, protocol.dataset, reported)
    end = max(_spent(record) for record in records)
    found: dict[str, RegretCurve] = {}
    for label in dict.fromkeys(record["strategy"] for record in records):
        paths = [r["path"] for r in records if r["strategy"] == label and r["path"]]
        if not paths:
            continue
        start = max(path[0][0] for path in paths)
        ratio = max(end / start, 1.0) if start > 0 else 1.0  # a table may charge nothing
        times = [start * ratio ** (i / (_POINTS - 1)) for i in range(_POINTS)]
        mean, low, high = [], [], []
        for moment in times:
            regrets = sorted(optimum - _at(path, moment) for path in paths)
            mean.append(statistics.fmean(regrets))
            low.append(regrets[len(regrets) // 4])
            high.append(regrets[(3 * len(regrets)) // 4])
        found[label] = (times, mean, low, high)
    return found


def _at(path: Sequence[Sequence[float]], moment: float) -> float:
    """Returns the value of the last step not later than `moment`."""
    place = bisect_right([step[0] for step in path], moment * (1 + 1e-12))
    return path[max(place - 1, 0)][1]


def _spent(record: SeedRun) -> float:
    seconds = record["simulated_seconds"]
    return float(record["evaluations"] if seconds is None else seconds)


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "none"
    missing = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return f"{statistics.fmean(known):.2f} ± {statistics.pstdev(known):.2f}{missing}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
