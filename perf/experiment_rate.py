"""Trials a minute of an NNI experiment: with nas_plugin's tuner, journal and guard, and without.

    python perf/experiment_rate.py --trials 100 --rounds 2

Both run the same script on the same space; the plain one under NNI's own Random tuner, started by
nnictl. They take turns. The rate is that of the manager's own records, from the start of the first
trial to the end of the last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from nas_plugin.experiment.launch import free_port
from nas_plugin.experiment.manager_api import ManagerApi, ManagerGoneError

SCRIPT = """
from nas_plugin.experiment import next_architecture, report_final, report_intermediate
from nas_plugin.space import Choice, SearchSpace
names = ("conv3x3", "conv5x5", "skip", "pool")
space = SearchSpace(Choice(f"cell/edge{i}", "layer", names) for i in range(6))
architecture = next_architecture(space)
score = sum(names.index(value) for value in architecture.values())
report_intermediate(score / 2)
report_final(score)
"""
# Without the guard the manager would listen on every address.
LOOPBACK = """
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port) { return listen.call(this, port, '127.0.0.1'); };
"""
TUNERS: dict[str, dict[str, Any]] = {
    "plain": {"name": "Random", "classArgs": {"seed": 0}},
    "nas_plugin": {
        "className": "nas_plugin.experiment.NasTuner",
        "classArgs": {"strategy": "random", "seed": 0},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in TUNERS}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for _ in range(args.rounds):
            for name in TUNERS:
                rate = measure(home, name, args.trials, args.concurrency)
                rates[name].append(rate)
                print(f"{name:<11} {rate:6.1f} trials a minute", flush=True)
    ratios = [a / b for a, b in zip(rates["nas_plugin"], rates["plain"], strict=True)]
    print(f"nas_plugin reaches {statistics.median(ratios):.0%} of plain NNI")


def measure(home: Path, name: str, trials: int, concurrency: int) -> float:
    """Runs one experiment and returns its trials a minute."""
    (home / "trial.py").write_text(SCRIPT)
    (home / "loopback.js").write_text(LOOPBACK)
    environment = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    space = [sys.executable, "-m", "nas_plugin", "space", "--command", "python trial.py"]
    run = {"cwd": home, "env": environment, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*space, "--out", "space.json"], **run)  # type: ignore[call-overload]
    config = {
        "searchSpaceFile": "space.json",
        "trialCommand": "python trial.py",
        "trialConcurrency": concurrency,
        "maxTrialNumber": trials,
        "tuner": TUNERS[name],
        "trainingService": {"platform": "local"},
    }
    (home / "exp.yml").write_text(json.dumps(config))
    port = str(free_port())
    if name == "plain":
        command = [shutil.which("nnictl") or "nnictl", "create"]
        environment["NODE_OPTIONS"] = f"--require {home / 'loopback.js'}"
    else:
        command = [sys.executable, "-m", "nas_plugin", "experiment", "create", "--detach"]
    for _ in range(5):  # on a busy machine NNI's manager may need longer than nnictl waits
        start = [*command, "--config", "exp.yml", "--port", port]
        started = subprocess.run(start, **{**run, "check": False})  # type: ignore[call-overload]
        if started.returncode == 0:
            break
    folder = (home / "nni-experiments" / "_latest").resolve()
    api = ManagerApi(f"http://127.0.0.1:{port}")
    while api.status()[0] != "DONE":
        time.sleep(0.5)
    rate = trials_a_minute(folder)
    subprocess.run(
        [sys.executable, "-m", "nas_plugin", "experiment", "stop", folder.name],
        **run,  # type: ignore[call-overload]
    )
    try:
        api.status()
    except ManagerGoneError:
        return rate
    raise SystemExit("The manager did not end.")


def trials_a_minute(experiment: Path) -> float:
    """Returns the rate between the manager's records of the first start and the last end."""
    database = (experiment / "db" / "nni.sqlite").as_uri()
    query = (
        "select min(timestamp), max(timestamp), count(distinct trialJobId) from TrialJobEvent "
        "where event in ('RUNNING', 'WAITING', 'SUCCEEDED')"
    )
    with closing(sqlite3.connect(f"{database}?mode=ro", uri=True)) as connection:
        first, last, number = connection.execute(query).fetchone()
    minutes: float = (last - first) / 60_000
    return float(number) / minutes


if __name__ == "__main__":
    main()
