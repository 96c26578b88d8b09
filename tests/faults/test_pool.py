"""Worker processes that hang, die or run out of memory: each costs its own evaluation alone."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from functools import partial

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.evaluation import Budget, ProcessPool, search
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import GridSearch, Outcome, Proposal

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and limits of Linux"),
]
SEED = 20261124
#: What ends an evaluation, as the search calls it.
SAID = {
    "killed": "the worker process ended with signal SIGKILL",
    "hung": "no result within the timeout",
    "out of memory": "MemoryError",
}


class Fated:
    """Does to each proposal what it is fated to suffer.

    Args:
        fates: Number of the proposal → ``killed``, ``hung``, ``out of memory`` or a signal.
        nap: Seconds that ``hung`` lasts.
    """

    def __init__(self, fates: dict[int, str], nap: float = 600.0) -> None:
        self.fates, self.nap = fates, nap

    def evaluate(self, proposal: Proposal) -> Outcome:
        number = int(proposal.architecture["n"])
        fate = self.fates.get(number, "fine")
        if fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate.isdigit():
            os.kill(os.getpid(), int(fate))
        if fate == "hung":
            time.sleep(self.nap)
        if fate == "out of memory":
            exhaust()
        return Outcome({"default": float(number)})


def exhaust() -> None:
    """Takes memory until there is no more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, before[1]))
    held: list[bytearray] = []
    try:
        while True:
            held.append(bytearray(2**22))
    finally:
        held.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def numbers(count: int) -> SearchSpace:
    return SearchSpace([Choice("n", "layer", tuple(str(n) for n in range(count)))])


def outcomes(count: int, pool: ProcessPool) -> dict[int, Outcome]:
    space = numbers(count)
    history = search(space, GridSearch(space), pool, Budget(trials=count)).history
    seen = [int(trial.architecture["n"]) for trial in history]
    assert sorted(seen) == list(range(count))  # none lost, none twice
    return {int(t.architecture["n"]): t.outcome for t in history if t.outcome is not None}


def test_an_evaluation_that_hangs_is_ended_and_counts_as_a_failure() -> None:
    # It ends by itself in the end, so that a pool without a timeout gives a value, not a wait.
    fates = {1: "hung"}
    pool = ProcessPool(partial(Fated, fates, nap=20.0), workers=1, timeout=2.0)
    found = outcomes(3, pool)

    assert found[1].failure == "no result within the timeout of 2 s; the process was ended"
    assert found[0].failure is None and found[2].failure is None


def test_a_signal_without_a_name_is_a_failure_of_its_proposal() -> None:
    number = signal.SIGRTMIN + 2
    with pytest.raises(ValueError, match="not a valid"):
        signal.Signals(number)
    found = outcomes(2, ProcessPool(partial(Fated, {0: str(int(number))}), workers=1))

    assert found[0].failure == f"the worker process ended with signal {int(number)}"
    assert found[1].failure is None


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_timeout_is_a_positive_number(timeout: float) -> None:
    with pytest.raises(OptionError, match="positive number of seconds"):
        ProcessPool(partial(Fated, {}), timeout=timeout)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_double_when_evaluations_end_badly(count: int) -> None:
    """A tenth is killed, a twentieth hangs, a twentieth runs out of memory."""
    order = random.Random(SEED).sample(range(count), count)
    parts = (("killed", count // 10), ("hung", count // 20), ("out of memory", count // 20))
    fates: dict[int, str] = {}
    for fate, many in parts:
        for _ in range(many):
            fates[order.pop()] = fate

    found = outcomes(count, ProcessPool(partial(Fated, fates), workers=2, timeout=5.0))

    became = Counter()
    for number, outcome in found.items():
        fate = fates.get(number, "fine")
        became[fate] += 1
        if fate == "fine":
            assert outcome.metrics == {"default": float(number)}
        else:
            assert outcome.failure is not None and SAID[fate] in outcome.failure
    assert {fate: became[fate] for fate, _ in parts} == dict(parts)
