"""The bookkeeping against a simulated manager with NNI's habits.

It hands parameters out in the order in which trials ask, whatever trial they were made for; a
trial that dies before it asks leaves its parameters to the next; a crash forgets what waited.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

import pytest

from nas_plugin.errors import ExperimentError, OptionError
from nas_plugin.experiment.coordinator import Coordinator, Kept
from nas_plugin.experiment.journal import Journal
from nas_plugin.experiment.outcome import Evidence
from nas_plugin.experiment.proposer import StrategyProposer
from nas_plugin.experiment.results import rows, succeeded
from nas_plugin.experiment.space_format import from_parameters
from nas_plugin.space import Choice, SearchSpace

SPACE = SearchSpace(Choice(f"cell/edge{i}", "layer", ("a", "b", "c", "d")) for i in range(6))


@dataclass(frozen=True)
class Ask:
    id: int
    architecture: object
    fidelity: float | None = None


class Sampler:
    """A strategy whose proposals depend on everything that it was told, in order."""

    exhausted = False

    def __init__(self, seed=0, limit=None):
        self.rng, self.limit, self.told, self.n = Random(seed), limit, [], 0
        self.asks = 0

    def ask(self):
        self.asks += 1
        if self.n == self.limit:
            self.exhausted = True
            return None
        self.n += 1
        return Ask(self.n - 1, SPACE.sample(self.rng))

    def tell(self, proposal, metrics, failure):
        self.told.append((proposal, metrics, failure))
        self.rng = Random(f"{self.rng.random()}{proposal}{metrics}{failure}")

    def state_dict(self):
        version, numbers, gauss = self.rng.getstate()
        return {"rng": [version, list(numbers), gauss], "n": self.n}

    def load_state_dict(self, state):
        version, numbers, gauss = state["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
        self.n = state["n"]


def value(architecture):
    return sum((i + 1) * ord(v) for i, (_, v) in enumerate(sorted(architecture.items())))


@dataclass
class Simulation:
    """A manager that runs trials one step at a time, in random order."""

    coordinator: Coordinator
    budget: int | None
    seed: int = 0
    concurrency: int = 3
    dies_before: float = 0.0
    dies_after: float = 0.0
    says: bool = True
    queue: deque = field(default_factory=deque)
    running: dict = field(default_factory=dict)
    ran: dict = field(default_factory=dict)
    trials: int = 0

    def __post_init__(self):
        self.rng = Random(self.seed)

    def fill(self):
        while len(self.running) < self.concurrency:
            job = self.coordinator.next_job(self.budget)
            if job is None:
                return
            self.queue.append(job)
            self.running[f"T{self.trials}"] = job
            self.trials += 1

    def step(self):
        """Ends one running trial, whichever."""
        trial = self.rng.choice(sorted(self.running))
        del self.running[trial]
        if self.rng.random() < self.dies_before:
            self.coordinator.end(trial, Evidence("USER_CANCELED", signal="SIGKILL"))
            return
        job = self.queue.popleft()
        self.run(trial, job)

    def run(self, trial, job):
        architecture = from_parameters(job.parameters, SPACE).to_json()
        if self.says:
            self.coordinator.claim(trial, job.parameter, job.attempt)
        if self.rng.random() < self.dies_after:
            self.coordinator.end(trial, Evidence("FAILED", 1))
            return
        self.ran[trial] = architecture
        self.coordinator.result(
            trial, job.parameter, job.attempt, {"default": value(architecture)}, architecture
        )
        self.coordinator.end(trial, Evidence("SUCCEEDED", 0))

    def to_end(self):
        self.fill()
        while self.running:
            self.step()
            self.fill()
            assert self.trials < 5000, "it never ends"


def check(journal, budget, ran):
    """0 wrong, 0 lost, 0 double."""
    table = rows(journal.events)
    for row in table:
        if row.outcome == "succeeded":
            assert row.metrics["default"] == value(row.architecture)
            assert ran[row.trial] == row.architecture
    counted = [r for r in table if r.parameter is not None and r.outcome != "repeated"]
    keys = [(r.parameter, r.attempt) for r in counted]
    assert max(Counter(keys).values()) == 1
    tells = [e["parameter"] for e in journal.events if e["event"] == "tell"]
    assert sorted(tells) == list(range(budget))
    return table


@pytest.mark.parametrize("concurrency", [1, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_wrong_lost_or_double_without_faults(tmp_path, concurrency, seed):
    journal = Journal(tmp_path / "j")
    strategy = Sampler()
    coordinator = Coordinator(journal, SPACE, strategy, retries=2)
    simulation = Simulation(coordinator, 40, seed, concurrency)
    simulation.to_end()
    assert len(check(journal, 40, simulation.ran)) == simulation.trials == 40
    assert sorted(p for p, _, _ in strategy.told) == list(range(40))
    journal.close()


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_wrong_lost_or_double_when_trials_die(tmp_path, seed, says):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=2)
    simulation = Simulation(coordinator, 60, seed, dies_before=0.1, dies_after=0.1, says=says)
    simulation.to_end()
    table = check(journal, 60, simulation.ran)
    assert len(succeeded(table)) >= 58  # three deaths in a row end an architecture
    assert len({r.parameter for r in succeeded(table)}) == len(succeeded(table))
    journal.close()


@pytest.mark.parametrize("seed", range(6))
def test_crashes_lose_and_repeat_nothing(tmp_path, seed):
    path = tmp_path / "j"
    rng = Random(seed)
    ran, trials, rerun = {}, 0, {}
    for _ in range(8):
        journal = Journal(path)
        strategy = Sampler()
        coordinator = Coordinator(journal, SPACE, strategy, retries=2)
        simulation = Simulation(
            coordinator, 40, rng.random(), dies_before=0.05, dies_after=0.05, trials=trials
        )
        if trials:
            coordinator.recovered([(j.parameter, j.attempt) for j in rerun.values()])
        for trial, job in rerun.items():  # NNI gives these their own parameters
            simulation.run(trial, job)
        simulation.fill()
        for _ in range(rng.randrange(12)):
            if simulation.running:
                simulation.step()
                simulation.fill()
        if rng.random() < 0.4:
            coordinator.save()
            if simulation.running:
                simulation.step()
        ran.update(simulation.ran)
        rerun, trials = dict(simulation.running), simulation.trials
        journal.close()
    journal = Journal(path)
    strategy = Sampler()
    coordinator = Coordinator(journal, SPACE, strategy, retries=2)
    coordinator.recovered([])
    simulation = Simulation(coordinator, 40, 1, trials=trials)
    simulation.to_end()
    check(journal, 40, ran | simulation.ran)
    asks = [e for e in journal.events if e["event"] == "ask"]
    assert [e["parameter"] for e in asks] == list(range(40))
    # All that was ever handed out, in every session.
    assert coordinator.jobs == sum(e["event"] in ("ask", "again") for e in journal.events)
    journal.close()


def test_the_journal_replayed_in_process_gives_the_same_proposals(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(seed=5), retries=1)
    Simulation(coordinator, 50, 3, concurrency=2, dies_after=0.2).to_end()
    strategy = Sampler(seed=5)
    for event in journal.events:
        if event["event"] == "ask":
            assert strategy.ask().architecture.to_json() == event["architecture"]
        elif event["event"] == "tell":
            strategy.tell(event["parameter"], event.get("metrics"), event.get("failure", ""))
    journal.close()


@pytest.mark.parametrize("dies", [0.0, 1.0])
def test_a_crash_between_an_end_and_its_consequence_forgets_neither(tmp_path, dies):
    path = tmp_path / "j"
    journal = Journal(path)
    Simulation(Coordinator(journal, SPACE, Sampler(), retries=1), 1, dies_after=dies).to_end()
    journal.close()
    lines = path.read_text().splitlines(keepends=True)
    first_end = next(i for i, line in enumerate(lines) if '"event":"end"' in line)
    path.write_text("".join(lines[: first_end + 1]))

    journal = Journal(path)
    strategy = Sampler()
    coordinator = Coordinator(journal, SPACE, strategy, retries=1)
    coordinator.recovered([])
    job = coordinator.next_job(1)

    if dies:
        assert job is not None and job.attempt == 1 and coordinator.next_job(1) is None
    else:
        assert job is None and len(strategy.told) == 1
    journal.close()


def test_another_strategy_cannot_go_on_with_a_journal(tmp_path):
    journal = Journal(tmp_path / "j")
    Simulation(Coordinator(journal, SPACE, Sampler(0), retries=0), 5).to_end()
    with pytest.raises(ExperimentError, match="event 0.*seed"):
        Coordinator(journal, SPACE, Sampler(1), retries=0)
    journal.close()


def test_a_strategy_that_has_nothing_left_ends_the_search(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(limit=7), retries=0)
    simulation = Simulation(coordinator, None)
    simulation.to_end()
    assert coordinator.exhausted and not coordinator.open and coordinator.living == 0
    check(journal, 7, simulation.ran)
    journal.close()


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (2, 3)])
def test_an_architecture_that_always_fails_is_given_up(tmp_path, retries, attempts):
    journal = Journal(tmp_path / "j")
    strategy = Sampler()
    Simulation(Coordinator(journal, SPACE, strategy, retries=retries), 1, dies_after=1.0).to_end()
    assert [r.outcome for r in rows(journal.events)] == ["failed"] * attempts
    assert strategy.told == [(0, None, "exit code 1")]
    journal.close()


def test_a_script_that_never_asks_ends_the_search_with_the_reason(tmp_path):
    journal = Journal(tmp_path / "j")
    strategy = Sampler()
    simulation = Simulation(Coordinator(journal, SPACE, strategy, retries=2), 8, dies_before=1.0)
    with pytest.raises(ExperimentError, match="3 trials in a row ended before they asked"):
        simulation.to_end()
    assert simulation.trials <= 5  # two run when the third ends
    journal.close()


def test_a_trial_that_died_before_it_asked_is_filed_under_what_it_was_made_for(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=2)
    job = coordinator.next_job(1)
    coordinator.claim("T", job.parameter, job.attempt)  # from the guard's note
    coordinator.end("T", Evidence("USER_CANCELED", signal="SIGKILL"), asked=False)

    (row,) = rows(journal.events)
    assert (row.parameter, row.outcome) == (0, "killed")
    assert row.architecture == journal.events[0]["architecture"]
    again = coordinator.next_job(1)
    assert (again.parameter, again.attempt) == (0, 1)
    journal.close()


def test_the_words_of_a_script_that_never_asks_are_in_the_reason(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=9)
    for trial in ("A", "B"):
        coordinator.next_job(5)
        coordinator.end(trial, Evidence("FAILED", 1))
    coordinator.next_job(5)
    with pytest.raises(ExperimentError, match=r"wrote:\nImportError: no module"):
        coordinator.end("C", Evidence("FAILED", 1), words="ImportError: no module named 'x'")
    journal.close()


@pytest.mark.parametrize(
    ("reported", "outcome"),
    [(float("nan"), "not_a_number"), ("high", "invalid_result"), (None, "no_result")],
)
def test_what_is_no_result_is_not_tried_again(tmp_path, reported, outcome):
    journal = Journal(tmp_path / "j")
    strategy = Sampler()
    coordinator = Coordinator(journal, SPACE, strategy, retries=2)
    job = coordinator.next_job(1)
    coordinator.claim("T", job.parameter, job.attempt)
    if reported is not None:
        coordinator.result("T", job.parameter, job.attempt, reported, None)
    coordinator.end("T", Evidence("SUCCEEDED", 0))
    assert [r.outcome for r in rows(journal.events)] == [outcome]
    assert coordinator.next_job(1) is None and strategy.told[0][1] is None
    journal.close()


def test_a_trial_that_ran_another_architecture_does_not_count(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=2)
    job = coordinator.next_job(1)
    other = dict(
        job.parameters, **{"cell/edge0": "d" if job.parameters["cell/edge0"] != "d" else "a"}
    )
    coordinator.result("T", job.parameter, job.attempt, 1.0, other)
    coordinator.end("T", Evidence("SUCCEEDED", 0))
    assert [r.outcome for r in rows(journal.events)] == ["wrong_architecture"]
    journal.close()


@pytest.mark.parametrize("runs_again", [False, True])
def test_a_result_on_the_disk_is_taken_when_the_tuner_died_first(tmp_path, runs_again):
    path = tmp_path / "j"
    journal = Journal(path)
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=2)
    jobs = [coordinator.next_job(2), coordinator.next_job(2)]
    journal.close()  # the tuner dies; the first trial ends after it

    journal = Journal(path)
    strategy = Sampler()
    coordinator = Coordinator(journal, SPACE, strategy, retries=2)
    ran = from_parameters(jobs[0].parameters, SPACE).to_json()
    kept = Kept("T", 0, 0, {"default": value(ran)}, ran)
    coordinator.recovered([(0, 0)] if runs_again else [], [kept, Kept("X", 9, 0, {}, None)])

    if runs_again:  # the manager runs it once more, and it reports what it has
        assert rows(journal.events) == [] and coordinator.living == 1
    else:
        (row,) = rows(journal.events)
        assert (row.trial, row.parameter, row.outcome) == ("T", 0, "succeeded")
        assert row.metrics == {"default": value(ran)} and row.architecture == ran
        assert strategy.told == [(0, {"default": value(ran)}, "")] and coordinator.living == 0
    again = coordinator.next_job(2)
    assert (again.parameter, again.attempt) == (1, 1) and coordinator.next_job(2) is None
    journal.close()


def test_a_copy_is_kept_and_does_not_count(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=2)
    job = coordinator.next_job(1)
    for trial, metric in (("A", 1.0), ("B", 2.0)):
        coordinator.result(trial, job.parameter, job.attempt, metric, None)
        coordinator.end(trial, Evidence("SUCCEEDED", 0))
    table = rows(journal.events)
    assert [(r.trial, r.outcome, r.metrics) for r in table] == [
        ("A", "succeeded", {"default": 1.0}),
        ("B", "repeated", {"default": 2.0}),
    ]
    assert [r.trial for r in succeeded(table)] == ["A"]
    journal.close()


def test_a_trial_added_by_hand_is_kept_but_not_told(tmp_path):
    journal = Journal(tmp_path / "j")
    strategy = Sampler()
    coordinator = Coordinator(journal, SPACE, strategy, retries=2)
    coordinator.next_job(1)
    coordinator.result("H", None, 0, 9.0, SPACE.first().to_json())
    coordinator.end("H", Evidence("SUCCEEDED", 0))
    assert coordinator.living == 1 and coordinator.jobs == 2 and strategy.told == []
    (row,) = rows(journal.events)
    assert row.parameter is None and row.architecture == SPACE.first().to_json()
    journal.close()


def test_a_fidelity_travels_with_the_choices(tmp_path):
    class Short(Sampler):
        def ask(self):
            asked = super().ask()
            return Ask(asked.id, asked.architecture, 3)

    journal = Journal(tmp_path / "j")
    job = Coordinator(journal, SPACE, Short(), retries=0).next_job(1)
    assert job.parameters["_fidelity"] == 3
    assert set(from_parameters(job.parameters, SPACE)) == set(SPACE)
    journal.close()


def test_a_snapshot_spares_the_questions_and_a_damaged_one_costs_only_them(tmp_path):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, Sampler(), retries=0)
    Simulation(coordinator, 10).to_end()
    coordinator.save()
    Simulation(coordinator, 15, trials=100).to_end()
    following = []
    for damage in (False, True):
        if damage:
            (tmp_path / "strategy.json").write_text("{")
        strategy = Sampler()
        again = Coordinator(journal, SPACE, strategy, retries=0)
        assert strategy.asks == (15 if damage else 5)
        assert again.asked == 15 and not again.open
        following.append(strategy.ask().architecture)
    assert following[0] == following[1]
    journal.close()


def test_a_strategy_that_waits_is_asked_again_after_the_next_outcome(tmp_path):
    class Halves(Sampler):
        """Proposes four, and the next four when these are told."""

        def ask(self):
            self.rng.random()  # a question leaves its trace, answered or not
            return super().ask() if len(self.told) >= 4 * (self.n // 4) else None

    journal = Journal(tmp_path / "j")
    simulation = Simulation(Coordinator(journal, SPACE, Halves(), retries=0), 12, concurrency=3)
    simulation.to_end()
    check(journal, 12, simulation.ran)
    assert any(e["event"] == "nothing" for e in journal.events)
    assert Coordinator(journal, SPACE, Halves(), retries=0).asked == 12
    journal.close()


@pytest.mark.parametrize("name", ["random", "regularized_evolution", "successive_halving", "tpe"])
def test_a_shipped_strategy_goes_on_after_a_crash_as_if_nothing_had_been(tmp_path, name):
    def proposer():
        return StrategyProposer(name, SPACE, seed=1, options={})

    straight = Journal(tmp_path / "straight" / "j")
    Simulation(Coordinator(straight, SPACE, proposer(), retries=0), 30, concurrency=1).to_end()
    broken = Journal(tmp_path / "broken" / "j")
    first = Coordinator(broken, SPACE, proposer(), retries=0)
    Simulation(first, 12, concurrency=1).to_end()
    first.save()
    Simulation(first, 17, concurrency=1, trials=100).to_end()
    broken.close()
    broken = Journal(tmp_path / "broken" / "j")
    again = Coordinator(broken, SPACE, proposer(), retries=0)
    Simulation(again, 30, concurrency=1, trials=200).to_end()
    asks = [
        [e["architecture"] for e in j.events if e["event"] == "ask"] for j in (straight, broken)
    ]
    assert len(asks[0]) == 30 and asks[0] == asks[1]
    straight.close()
    broken.close()


def test_a_strategy_that_does_not_take_an_option_names_it():
    with pytest.raises(OptionError, match="populatoin"):
        StrategyProposer("regularized_evolution", SPACE, seed=0, options={"populatoin": 3})
    with pytest.raises(OptionError, match="regularized_evolution"):
        StrategyProposer("regularised_evolution", SPACE, seed=0, options={})
