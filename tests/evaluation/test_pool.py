from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from nas_plugin.errors import ExperimentError, OptionError, TrainingError
from nas_plugin.evaluation import Budget, ProcessPool, search
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import GridSearch, Outcome

pytestmark = pytest.mark.processes


class Moody:
    """Does what the architecture says."""

    def evaluate(self, proposal):
        mood = proposal.architecture["mood"]
        if mood == "raise":
            raise TrainingError("diverged")
        if mood == "bug":
            raise KeyError("typo")
        if mood == "exit":
            os._exit(3)
        if mood == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == "silent":
            return None
        return Outcome({"default": float(len(mood))}, seconds=float(os.getpid()))


def broken():
    raise RuntimeError("no such device")


def test_whatever_happens_to_a_worker_is_a_failure_of_its_proposal():
    moods = ("fine", "raise", "exit", "good", "kill", "bug", "silent", "excellent")
    space = SearchSpace([Choice("mood", "layer", moods)])
    pool = ProcessPool(Moody, workers=2)
    result = search(space, GridSearch(space), pool, Budget(trials=20))
    became = {t.architecture["mood"]: t.outcome for t in result.history}
    assert result.best.architecture["mood"] == "excellent"
    assert became["raise"].failure == "TrainingError: diverged"
    assert became["exit"].failure == "the worker process ended with exit code 3"
    assert became["kill"].failure == "the worker process ended with signal SIGKILL"
    assert became["silent"].failure == "evaluate() returned None, not an Outcome"
    assert "KeyError: 'typo'" in became["bug"].failure
    assert {became[m].seconds for m in ("fine", "good", "excellent")} & {os.getpid()} == set()
    assert all(worker is None for worker in pool._workers)


def test_a_worker_without_an_evaluator_ends_the_search():
    space = SearchSpace([Choice("mood", "layer", ("fine", "good"))])
    with pytest.raises(ExperimentError, match="no such device"):
        search(space, GridSearch(space), ProcessPool(broken, workers=1), Budget(trials=2))


def test_a_pool_has_at_least_one_worker():
    with pytest.raises(OptionError, match="at least 1"):
        ProcessPool(partial(Moody), workers=0)


def test_an_evaluator_that_cannot_travel_says_what_can():
    space = SearchSpace([Choice("mood", "layer", ("fine", "good"))])
    with pytest.raises(OptionError, match="function of a module"):
        search(space, GridSearch(space), ProcessPool(lambda: Moody(), workers=1), Budget(trials=2))
