"""How the scripts of this folder measure steps: in pairs taken in turn, and memory by itself."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Step = Callable[[], Any]


def compared(
    first: Step, second: Step, device: str, *, pairs: int, warm_ups: int = 1
) -> tuple[float, float, float]:
    """Returns the median seconds of both steps and the median of first / second over the pairs."""
    for step in (first, second):
        for _ in range(warm_ups):
            step()
    times = []
    for i in range(pairs):
        order = (first, second) if i % 2 == 0 else (second, first)
        taken = {step: seconds(step, device) for step in order}
        times.append((taken[first], taken[second]))
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return medians[0], medians[1], statistics.median(a / b for a, b in times)


def peak_of_own_process(*arguments: str) -> float:
    """Returns what the running script prints, called again with these arguments: see `peak`."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak(step: Step, device: str) -> float:
    """Returns MiB that two steps need above what this process needed before them."""
    before = _used(device)
    for _ in range(2):
        step()
    return _used(device) - before


def threads(device: str) -> str:
    """Returns what computes, for a headline."""
    return f"{torch.get_num_threads()} threads" if device == "cpu" else device


def seconds(step: Step, device: str) -> float:
    """Returns what a step takes: of the process on the CPU, of the clock elsewhere."""
    # Of the process alone on the CPU: others may be using the machine.
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    start = clock()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def machine(device: str) -> dict[str, Any]:
    """Returns what the figures depend on beside the code."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.split(":")[1].strip() for line in cpu.splitlines() if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": threads(device),
    }


def written(path: Path, device: str, found: Mapping[str, Any]) -> None:
    """Writes what a script found as a data file, with its command and the machine."""
    command = " ".join(["python", *sys.argv])
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"command": command, "machine": machine(device), **found}
    path.write_text(json.dumps(data, indent=2) + "\n")


def _used(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    # Not ru_maxrss: it starts at that of the process that this one was forked from.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10
