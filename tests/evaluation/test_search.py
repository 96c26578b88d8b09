from __future__ import annotations

import json
import math

import pytest

from nas_plugin.errors import FileError, OptionError, StrategyError, TrainingError
from nas_plugin.evaluation import Budget, TableEvaluator, search
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Outcome, RandomSearch, RegularizedEvolution, SuccessiveHalving


class Interrupted(Exception):  # noqa: N818
    pass


class Stops:
    """An evaluator that dies at its n-th evaluation."""

    def __init__(self, evaluator, n):
        self.evaluator, self.left = evaluator, n

    def evaluate(self, proposal):
        self.left -= 1
        if self.left < 0:
            raise Interrupted
        return self.evaluator.evaluate(proposal)


class TwoAtATime:
    """Two slots; what was submitted later ends earlier."""

    slots = 2

    def __init__(self, evaluator):
        self.evaluator, self.under_way, self.most, self.closed = evaluator, [], 0, False

    def submit(self, proposal):
        self.under_way.append(proposal)
        self.most = max(self.most, len(self.under_way))

    def collect(self):
        proposal = self.under_way.pop()
        return [(proposal, self.evaluator.evaluate(proposal))]

    def close(self):
        self.closed = True


def test_a_budget_of_trials_is_kept(table):
    result = search(table.space, RandomSearch(table.space), TableEvaluator(table), Budget(trials=5))
    assert (len(result.history), result.stopped) == (5, "trials")
    assert result.simulated_seconds == pytest.approx(5 * 30)
    assert result.front == [result.best]
    assert result.best.value == max(trial.value for trial in result.history)


def test_what_exceeds_the_simulated_seconds_is_discarded(table):
    budget = Budget(simulated_seconds=95)
    result = search(table.space, RandomSearch(table.space), TableEvaluator(table), budget)
    assert (len(result.history), result.stopped) == (3, "simulated_seconds")
    exact = search(
        table.space,
        RandomSearch(table.space),
        TableEvaluator(table),
        Budget(simulated_seconds=90),
    )
    assert (len(exact.history), exact.simulated_seconds) == (3, 90)


def test_seconds_of_the_clock_end_a_search(table):
    budget = Budget(seconds=1e-9, trials=10)
    result = search(table.space, RandomSearch(table.space), TableEvaluator(table), budget)
    assert (result.history, result.best, result.stopped) == ([], None, "seconds")


def test_the_end_of_the_space_ends_the_search(table):
    budget = Budget(trials=1000)
    result = search(table.space, RandomSearch(table.space), TableEvaluator(table), budget)
    assert (len(result.history), result.stopped) == (16, "exhausted")


def test_a_budget_must_be_given_and_positive():
    with pytest.raises(OptionError, match="needs a budget"):
        Budget()
    with pytest.raises(OptionError, match="trials must be positive, got 0"):
        Budget(trials=0)


def test_simulated_seconds_need_an_evaluator_that_knows_them(table):
    class Free:
        def evaluate(self, proposal):
            return Outcome({"default": 1.0})

    with pytest.raises(StrategyError, match="does not say what an evaluation costs"):
        search(table.space, RandomSearch(table.space), Free(), Budget(simulated_seconds=9))


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(table, tmp_path):
    def strategy():
        return RegularizedEvolution(table.space, population=3, seed=4)

    whole = search(table.space, strategy(), TableEvaluator(table), Budget(trials=14))
    log = tmp_path / "search.jsonl"
    for n in (0, 4, 3):
        with pytest.raises(Interrupted):
            search(
                table.space,
                strategy(),
                Stops(TableEvaluator(table), n),
                Budget(trials=14),
                log=log,
            )
    with log.open("a") as stream:
        stream.write('{"event": "tell", "id": 7, "out')  # a crash in the middle of a line
    resumed = search(table.space, strategy(), TableEvaluator(table), Budget(trials=14), log=log)
    shown = [(t.proposal, t.outcome) for t in resumed.history]
    assert shown == [(t.proposal, t.outcome) for t in whole.history]
    assert resumed.simulated_seconds == whole.simulated_seconds
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert (events.count("ask"), events.count("tell")) == (14, 14)


def test_the_log_of_another_search_is_refused(table, tmp_path):
    log = tmp_path / "search.jsonl"
    evaluator = TableEvaluator(table)
    search(table.space, RandomSearch(table.space), evaluator, Budget(trials=3), log=log)
    with pytest.raises(StrategyError, match="another search"):
        search(table.space, RegularizedEvolution(table.space), evaluator, Budget(trials=3), log=log)
    with pytest.raises(StrategyError, match="Its seed"):
        search(table.space, RandomSearch(table.space, seed=9), evaluator, Budget(trials=3), log=log)
    log.write_text('{"event": "other"}\n')
    with pytest.raises(FileError, match="line 1"):
        search(table.space, RandomSearch(table.space), evaluator, Budget(trials=3), log=log)


def test_several_are_under_way_where_workers_take_them(table):
    workers = TwoAtATime(TableEvaluator(table))
    seen = []
    result = search(
        table.space, RandomSearch(table.space), workers, Budget(trials=7), on_trial=seen.append
    )
    assert workers.most == 2 and workers.closed
    assert len(seen) == len(result.history) == 7


def test_workers_wait_where_the_strategy_must(table):
    strategy = SuccessiveHalving(table.space, fidelities=(1, 3), width=16, eta=4)
    workers = TwoAtATime(TableEvaluator(table))
    result = search(table.space, strategy, workers, Budget(trials=100))
    assert (len(result.history), result.stopped) == (20, "exhausted")


def test_failed_trainings_are_failures_but_not_all_of_them(table):
    class Fails:
        def __init__(self, every):
            self.every, self.n = every, 0

        def evaluate(self, proposal):
            self.n += 1
            if self.n % self.every == 0:
                raise TrainingError("the loss is nan")
            return Outcome({"default": math.nan if self.n % 3 == 1 else 1.0})

    result = search(table.space, RandomSearch(table.space), Fails(2), Budget(trials=9))
    failures = [t.outcome.failure for t in result.history if t.value is None]
    assert "the loss is nan" in failures and "default is nan" in failures
    with pytest.raises(StrategyError, match=r"first 10 evaluations have all failed.*loss is nan"):
        search(table.space, RandomSearch(table.space), Fails(1), Budget(trials=16))


def test_a_used_strategy_or_another_space_is_refused(table):
    used = RandomSearch(table.space)
    used.ask()
    with pytest.raises(StrategyError, match="proposed before"):
        search(table.space, used, TableEvaluator(table), Budget(trials=1))
    other = RandomSearch(type(table.space)([table.space["op"]]))
    with pytest.raises(StrategyError, match="another search space"):
        search(table.space, other, TableEvaluator(table), Budget(trials=1))


class Diverges:
    """Every second evaluation ends in values that are no numbers."""

    def evaluate(self, proposal):
        value = math.inf if proposal.id % 2 else 1.0
        return Outcome({"default": value, "loss": math.nan if proposal.id % 2 else -math.inf})


def test_a_log_that_holds_values_that_are_not_finite_is_resumed(table, tmp_path):
    log = tmp_path / "log.jsonl"
    for trials in (4, 8):
        strategy = RandomSearch(table.space)
        result = search(table.space, strategy, Diverges(), Budget(trials=trials), log=log)
        json.dumps(strategy.state_dict(), allow_nan=False)
    failures = [trial.outcome.failure for trial in result.history]
    assert failures == [None, "default is inf"] * 4
    assert result.history[0].outcome.metrics["loss"] == -math.inf


def test_a_search_is_resumed_by_fewer_workers(table, tmp_path):
    class Strict(TwoAtATime):
        def __init__(self, slots, collects):
            super().__init__(TableEvaluator(table))
            self.slots, self.collects = slots, collects

        def submit(self, proposal):
            assert len(self.under_way) < self.slots
            super().submit(proposal)

        def collect(self):
            self.collects -= 1
            if self.collects < 0:
                raise Interrupted
            return super().collect()

    log, budget = tmp_path / "log.jsonl", Budget(trials=9)
    with pytest.raises(Interrupted):
        search(table.space, RandomSearch(table.space), Strict(4, 2), budget, log=log)
    result = search(table.space, RandomSearch(table.space), Strict(2, 20), budget, log=log)
    assert [trial.proposal.id for trial in result.history] == list(range(9))


def test_what_was_found_is_kept_where_the_constraint_leaves_no_more():
    space = SearchSpace(Choice(f"c{i}", "value", tuple(range(9))) for i in range(6))
    first = space.architecture({f"c{i}": 0 for i in range(6)})

    class One:
        def evaluate(self, proposal):
            return Outcome({"default": 1.0})

    strategy = RandomSearch(space, constraint=lambda a: a == first, warm_start=[first])
    result = search(space, strategy, One(), Budget(trials=5))
    assert (result.stopped, result.best.architecture) == ("infeasible", first)
