"""NNI's own tuners behind the adapter: told once, replayed alike, right about their proposals."""

from __future__ import annotations

import importlib.util
from random import Random

import pytest

from nas_plugin.errors import OptionError
from nas_plugin.experiment.coordinator import Coordinator
from nas_plugin.experiment.journal import Journal
from nas_plugin.experiment.proposer import make_proposer
from nas_plugin.space import Choice, SearchSpace
from tests.experiment.test_coordinator import SPACE, Simulation, check, value

pytest.importorskip("nni")

NAMES = ["TPE", "Random", "Evolution", "GridSearch"]
TAKES_MODE = ("TPE", "Evolution")


def tuner(name, space=SPACE, seed=3, **options):
    if name in TAKES_MODE:
        options.setdefault("optimize_mode", "maximize")
    return make_proposer(f"nni.{name}", space, seed=seed, options=options)


@pytest.mark.parametrize("name", NAMES)
def test_a_tuner_of_nni_survives_killed_trials_with_right_rows(tmp_path, name):
    journal = Journal(tmp_path / "j")
    coordinator = Coordinator(journal, SPACE, tuner(name), retries=1)
    simulation = Simulation(coordinator, 80, 1, 2, dies_before=0.1, dies_after=0.2)
    simulation.to_end()
    table = check(journal, 80, simulation.ran)
    assert any(row.outcome == "failed" for row in table)
    assert any("failure" in event for event in journal.events if event["event"] == "tell")
    journal.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_tuner_of_nni_goes_on_after_a_crash_as_if_nothing_had_been(tmp_path, name):
    straight, broken = Journal(tmp_path / "a" / "j"), Journal(tmp_path / "b" / "j")
    Simulation(Coordinator(straight, SPACE, tuner(name), retries=0), 60, 0, 1).to_end()
    first = Coordinator(broken, SPACE, tuner(name), retries=0)
    Simulation(first, 25, 0, 1).to_end()
    first.save()  # such a tuner has no state to keep
    assert not (tmp_path / "b" / "strategy.json").exists()
    broken.close()
    broken = Journal(tmp_path / "b" / "j")
    again = Coordinator(broken, SPACE, tuner(name), retries=0)
    Simulation(again, 60, 0, 1, trials=100).to_end()
    asks = [
        [e["architecture"] for e in j.events if e["event"] == "ask"] for j in (straight, broken)
    ]
    assert len(asks[0]) == 60 and asks[0] == asks[1]
    straight.close()
    broken.close()


@pytest.mark.parametrize("mode", ["maximize", "minimize"])
def test_tpe_proposes_what_it_proposes_by_itself(mode):
    from nni.algorithms.hpo.tpe_tuner import TpeTuner

    plain = TpeTuner(optimize_mode=mode, seed=3)
    plain.update_search_space({key: {"_type": "choice", "_value": list("abcd")} for key in SPACE})
    searcher = tuner("TPE", optimize_mode=mode)
    for number in range(60):
        expected = plain.generate_parameters(number)
        proposal = searcher.ask()
        assert proposal.architecture.to_json() == expected
        dies = number % 7 == 3
        if not dies:
            plain.receive_trial_result(number, expected, float(value(expected)))
        plain.trial_end(number, not dies)
        metrics = None if dies else {"default": float(value(expected))}
        searcher.tell(proposal.id, metrics, "killed" if dies else "")


def test_results_reach_evolution_under_the_parameters_that_it_proposed():
    means = {}
    for mode in ("maximize", "minimize"):
        searcher, seen = tuner("Evolution", optimize_mode=mode, population_size=10), []
        for _ in range(150):
            proposal = searcher.ask()
            seen.append(value(proposal.architecture.to_json()))
            searcher.tell(proposal.id, {"default": float(seen[-1])}, "")
        means[mode] = sum(seen[-40:]) / 40
    rng = Random(0)
    mean = sum(value(SPACE.sample(rng).to_json()) for _ in range(500)) / 500
    assert means["maximize"] > mean + 8 and means["minimize"] < mean - 8


def test_grid_search_visits_each_architecture_once_and_ends():
    space = SearchSpace(Choice(key, "layer", ("a", "b", "c")) for key in "xy")
    searcher, seen = tuner("GridSearch", space), set()
    while (proposal := searcher.ask()) is not None:
        seen.add(tuple(sorted(proposal.architecture.to_json().items())))
        searcher.tell(proposal.id, {"default": 0.0}, "")
    assert searcher.exhausted and len(seen) == 9


def test_evolution_waits_while_its_population_is_out():
    searcher = tuner("Evolution", population_size=2)
    first, second = searcher.ask(), searcher.ask()
    assert searcher.ask() is None and not searcher.exhausted
    searcher.tell(first.id, None, "killed")
    assert searcher.ask() is not None and second.id == 1


def test_input_choices_reach_the_trial_as_they_are_spelled():
    space = SearchSpace([Choice("join", "input", ("deep", "shortcut"), n_chosen=None)])
    searcher = tuner("Random", space)
    seen = {str(searcher.ask().architecture.to_json()) for _ in range(4)}
    assert seen == {
        str({"join": chosen}) for chosen in ([], ["deep"], ["shortcut"], ["deep", "shortcut"])
    }


@pytest.mark.parametrize("name", ["Anneal", "SMAC", "BOHB", "DNGO", "Nonsense"])
def test_a_tuner_that_cannot_is_refused_by_name(name):
    with pytest.raises(OptionError, match=name):
        tuner(name)


@pytest.mark.parametrize(
    ("package", "name"),
    [("hyperopt", "Anneal"), ("smac", "SMAC"), ("ConfigSpace", "BOHB"), ("pybnn", "DNGO")],
)
def test_the_reason_of_a_refusal_is_true(package, name):
    if importlib.util.find_spec(package) is None:
        with pytest.raises(OptionError, match=package):
            tuner(name)
