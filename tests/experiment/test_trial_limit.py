from __future__ import annotations

import pytest

from nas_plugin.experiment.journal import Journal
from nas_plugin.experiment.trial_limit import TrialLimit


class FakeApi:
    """The two numbers of a manager that a budget reads and writes."""

    def __init__(self, number):
        self.number, self.started = number, 0

    def profile(self):
        return {"params": {"maxTrialNumber": self.number} if self.number is not None else {}}

    def submitted(self):
        return self.started

    def set_max_trials(self, number):
        self.number = number


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "j")
    yield journal
    journal.close()


def test_the_manager_is_always_one_ahead_until_all_is_done(journal):
    api = FakeApi(12)
    budget = TrialLimit(api, journal)
    budget.read()
    budget.keep(asked=0, jobs=0, done=False)
    assert (budget.wanted, api.number) == (12, 13)
    api.started = 14  # two had to be run again
    budget.keep(asked=12, jobs=14, done=False)
    assert (budget.wanted, api.number) == (12, 15)
    budget.keep(asked=12, jobs=14, done=True)
    assert (budget.wanted, api.number) == (12, 14)


def test_trials_that_the_manager_has_yet_to_start_count(journal):
    api = FakeApi(20)
    budget = TrialLimit(api, journal)
    budget.keep(asked=0, jobs=0, done=False)
    api.started = 20  # two of 22 are on their way; it would be done with the first
    budget.keep(asked=20, jobs=22, done=False)
    assert api.number == 23


def test_a_number_set_by_the_user_is_a_new_wish(journal):
    api = FakeApi(12)
    budget = TrialLimit(api, journal)
    budget.keep(asked=0, jobs=0, done=False)
    api.number = 20
    budget.read()
    budget.keep(asked=5, jobs=5, done=False)
    assert (budget.wanted, api.number) == (20, 21)


@pytest.mark.parametrize("reached", [True, False])
def test_a_resumed_budget_knows_its_own_numbers(tmp_path, reached):
    journal = Journal(tmp_path / "j")
    api = FakeApi(12)
    budget = TrialLimit(api, journal)
    budget.keep(asked=0, jobs=0, done=False)
    api.started = 13
    budget.keep(asked=12, jobs=13, done=False)
    journal.close()
    if not reached:  # the crash came between the journal and the manager
        api.number = 13
    journal = Journal(tmp_path / "j")
    again = TrialLimit(api, journal)
    again.read()
    assert again.wanted == 12
    journal.close()


def test_without_a_number_nothing_is_set_before_the_strategy_has_nothing_left(journal):
    api = FakeApi(None)
    budget = TrialLimit(api, journal)
    budget.read()
    budget.keep(asked=3, jobs=3, done=False)
    assert (budget.wanted, api.number) == (None, None)
    api.started = 7
    budget.keep(asked=7, jobs=7, done=True)
    assert api.number == 7
    budget.read()
    assert budget.wanted is None
