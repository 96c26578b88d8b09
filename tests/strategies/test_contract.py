"""The strategy contract notices what it is there to notice."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from nas_plugin.contracts import strategy as contract
from nas_plugin.space import Architecture
from nas_plugin.strategies import RandomSearch, Strategy, strategies


class GlobalRandom(RandomSearch):
    def suggest(self) -> Architecture:
        return self.space.sample(random.Random())


class ForgetsItsPlace(RandomSearch):
    """Counts its suggestions, and does not save the count."""

    def __init__(self, space, **options):
        super().__init__(space, **options)
        self.count = 0

    def suggest(self) -> Architecture:
        self.count += 1
        return self.space.sample(random.Random(f"{self.count} {len(self.trials)}"))


class IgnoresTheBase(RandomSearch):
    """Goes round the base's legality by proposing in its own way."""

    def _next(self) -> Architecture:
        return self.space.sample(self.rng)


@pytest.fixture
def check(monkeypatch):
    def call(cls: type[Strategy], name: str) -> None:
        strategies.names()
        monkeypatch.setitem(strategies._members, "broken", cls)
        {c.__name__: c for c in contract.STRATEGY_CHECKS}[name]("broken")

    return call


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (GlobalRandom, "proposes_the_same_from_the_same_seed"),
        (ForgetsItsPlace, "goes_on_from_a_saved_state"),
        (IgnoresTheBase, "proposes_only_what_is_legal"),
        (IgnoresTheBase, "repeats_nothing_and_ends"),
        (IgnoresTheBase, "ends_where_the_constraint_allows_nothing"),
        (IgnoresTheBase, "takes_several_open_proposals_in_any_order"),
        (IgnoresTheBase, "begins_with_its_warm_starts"),
    ],
)
def test_a_broken_strategy_fails_the_check(check, cls, name):
    with pytest.raises(AssertionError):
        check(cls, name)


def test_the_check_of_all_checks_accepts_random_search():
    contract.check_strategy("random")


def test_proposals_do_not_depend_on_the_seed_of_hashes():
    code = (
        "from nas_plugin.contracts.strategy import make, run, strategies\n"
        "for name in strategies.names():\n"
        "    print(name, [p.to_json() for p in run(make(name, seed=5), 25)])\n"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    ]
    assert printed[0] == printed[1] and printed[0].count("\n") >= 15
