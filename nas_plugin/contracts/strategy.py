"""What every strategy promises, as checks that any test suite can run.

@pytest.mark.parametrize("name", strategies.names())
@pytest.mark.parametrize("check", STRATEGY_CHECKS)
def test_every_strategy_keeps_its_contract(check, name):
    check(name)
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any

from nas_plugin.errors import StrategyError
from nas_plugin.space.architecture import Architecture
from nas_plugin.space.choice import Choice
from nas_plugin.space.search_space import SearchSpace
from nas_plugin.strategies import (
    Exhausted,
    InfeasibleError,
    Outcome,
    Proposal,
    Strategy,
    strategies,
)

#: Proposals of a run: enough for every strategy to leave its random beginning.
STEPS = 45


def every_kind() -> SearchSpace:
    """Returns a space of every kind of choice, with choices that do not always matter."""
    below = ((("outer", ("deep",)),),)
    return SearchSpace(
        [
            Choice("edge_1_0", "layer", ("conv", "pool", "skip", "none"), excluded=("none",)),
            Choice("outer", "layer", ("deep", "flat")),
            Choice("inner", "layer", ("a", "b", "c"), active_if=below),
            Choice("two", "input", ("x", "y", "z", "w"), n_chosen=2),
            Choice("any", "input", (0, 1), n_chosen=None),
            Choice("width", "value", (8, 16, 32), active_if=below),
            Choice("depth", "repeat", (1, 2, 3)),
        ]
    )


def tiny() -> SearchSpace:
    """Returns a space of six architectures."""
    return SearchSpace([Choice("a", "layer", ("x", "y", "z")), Choice("b", "value", (1, 2))])


def toy_outcome(proposal: Proposal) -> Outcome:
    """Rates an architecture by its text; the same for equal architectures and fidelities."""
    text = proposal.architecture.dumps() + str(proposal.fidelity)
    value = Random(text).random()
    metrics = {"default": value, "params": float(len(text))}
    return Outcome(metrics, seconds=1.0)


def make(name: str, space: SearchSpace | None = None, **options: Any) -> Strategy:
    """Makes a strategy; one that needs a score is given one, and what takes long is cut short."""
    cls = strategies.get(name)
    small = {
        "score": lambda architecture: float(len(architecture.dumps())),
        "pool": 40,
        "steps": 10,
    }
    known = inspect.signature(cls.__init__).parameters
    options = {**{key: value for key, value in small.items() if key in known}, **options}
    return cls(every_kind() if space is None else space, **{"seed": 0, **options})


def run(strategy: Strategy, steps: int = STEPS) -> list[Proposal]:
    """Asks and tells in turn; ends early where nothing is left."""
    return list(islice(_proposals(strategy), steps))


def proposes_the_same_from_the_same_seed(name: str) -> None:
    """Equal seeds give equal proposals; the global generators have no part in it."""
    assert run(make(name, seed=7)) == run(make(name, seed=7))


def goes_on_from_a_saved_state(name: str) -> None:
    """A state that went through JSON, open proposals included, gives the uninterrupted run."""
    for cut in (0, 3, 17, 31):
        whole, first = make(name, seed=3), make(name, seed=3)
        open_whole, open_first = _ahead(whole, cut), _ahead(first, cut)
        assert open_whole == open_first
        second = make(name, seed=99)
        second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
        assert second.open == whole.open
        for proposal in open_whole:
            whole.tell(proposal.id, toy_outcome(proposal))
            second.tell(proposal.id, toy_outcome(proposal))
        assert run(second, 20) == run(whole, 20), f"differs after {cut} proposals"
        assert second.state_dict() == whole.state_dict()


def proposes_only_what_is_legal(name: str) -> None:
    """Every proposal fits the space and satisfies the constraint."""

    def legal(architecture: Architecture) -> bool:
        return architecture["depth"] != 3 and architecture["edge_1_0"] != "pool"

    strategy = make(name, constraint=legal)
    for proposal in run(strategy):
        assert legal(proposal.architecture), proposal
        spelled = proposal.architecture.to_json()
        assert strategy.space.architecture(spelled) == proposal.architecture


def repeats_nothing_and_ends(name: str) -> None:
    """Without repeats every architecture of a small space comes once a fidelity, then the end."""
    strategy = make(name, tiny())
    seen = [(p.architecture, p.fidelity) for p in run(strategy, 100)]
    assert len(seen) == len(set(seen)), "an architecture came twice"
    assert {architecture for architecture, _ in seen} == set(tiny().enumerate())
    _raises(Exhausted, strategy.ask)


def ends_where_the_constraint_allows_nothing(name: str) -> None:
    """A constraint that cannot be met is an error, in a space of any size."""
    endless = SearchSpace(Choice(f"c{i}", "value", tuple(range(8))) for i in range(12))
    for space in (tiny(), endless) if name != "grid" else (tiny(),):
        _raises(InfeasibleError, make(name, space, constraint=lambda _: False).ask)


def takes_several_open_proposals_in_any_order(name: str) -> None:
    """Four proposals are open at a time and are told in another order than they were asked."""
    strategy, rng = make(name), Random(0)
    opened: list[Proposal] = []
    seen: set[tuple[Architecture, float | None]] = set()
    for _ in range(STEPS):
        while len(opened) < 4:
            proposal = strategy.ask()
            assert (proposal.architecture, proposal.fidelity) not in seen
            seen.add((proposal.architecture, proposal.fidelity))
            opened.append(proposal)
        told = opened.pop(rng.randrange(len(opened)))
        strategy.tell(told.id, toy_outcome(told))
    assert strategy.open == sorted(opened, key=lambda p: p.id)


def tolerates_failures(name: str) -> None:
    """Failures and values that are not numbers never become best, nor end the search."""
    strategy = make(name)
    for number, proposal in enumerate(islice(_proposals(strategy, tell=False), STEPS)):
        outcome = toy_outcome(proposal)
        if number % 3 == 0:
            outcome = Outcome(failure="out of memory")
        elif number % 3 == 1:
            outcome = Outcome({**outcome.metrics, "default": float("nan")})
        strategy.tell(proposal.id, outcome)
    assert strategy.best is not None and strategy.best.proposal.id % 3 == 2
    assert all(trial.proposal.id % 3 == 2 for trial in strategy.results)
    hopeless = make(name)
    for proposal in islice(_proposals(hopeless, tell=False), STEPS):
        hopeless.tell(proposal.id, Outcome(failure="always"))
    assert hopeless.best is None


def begins_with_its_warm_starts(name: str) -> None:
    """Warm starts come first, in order, each once; an illegal one is refused."""
    space = every_kind()
    given = list(islice(space.enumerate(), 40, 43))
    strategy = make(name, warm_start=[given[0], given[1].to_json(), given[0], given[2]])
    proposed = [p.architecture for p in run(strategy)]
    assert proposed[:3] == given
    _raises(StrategyError, lambda: make(name, warm_start=given, constraint=lambda a: a != given[1]))


def refuses_what_it_did_not_ask(name: str) -> None:
    """A proposal that was never made or was told before is an error, as is a missing metric."""
    strategy = make(name)
    proposal = strategy.ask()
    _raises(StrategyError, lambda: strategy.tell(proposal.id + 1, toy_outcome(proposal)))
    _raises(StrategyError, lambda: strategy.tell(proposal.id, Outcome({"unknown": 1.0})))
    strategy.tell(proposal.id, toy_outcome(proposal))
    _raises(StrategyError, lambda: strategy.tell(proposal.id, toy_outcome(proposal)))
    _raises(StrategyError, lambda: make(name, tiny()).load_state_dict(strategy.state_dict()))


def breaks_ties_by_proposal(name: str) -> None:
    """Of equal results the first proposed is best, whichever was told first."""
    for order in (1, -1):
        strategy = make(name)
        opened = [strategy.ask() for _ in range(4)]
        for proposal in opened[::order]:
            outcome = Outcome({**toy_outcome(proposal).metrics, "default": 1.0, "params": 1.0})
            strategy.tell(proposal.id, outcome)
        assert strategy.best is not None and strategy.best.proposal.id == 0
        assert strategy.front()[0].proposal.id == 0


STRATEGY_CHECKS: tuple[Callable[[str], None], ...] = (
    proposes_the_same_from_the_same_seed,
    goes_on_from_a_saved_state,
    proposes_only_what_is_legal,
    repeats_nothing_and_ends,
    ends_where_the_constraint_allows_nothing,
    takes_several_open_proposals_in_any_order,
    tolerates_failures,
    begins_with_its_warm_starts,
    refuses_what_it_did_not_ask,
    breaks_ties_by_proposal,
)


def check_strategy(name: str) -> None:
    """Runs all checks on the strategy of that name."""
    for check in STRATEGY_CHECKS:
        check(name)


def _proposals(strategy: Strategy, *, tell: bool = True) -> Iterator[Proposal]:
    while True:
        try:
            proposal = strategy.ask()
        except Exhausted:
            return
        if tell:
            strategy.tell(proposal.id, toy_outcome(proposal))
        yield proposal


def _ahead(strategy: Strategy, steps: int) -> list[Proposal]:
    """Runs `steps` proposals with up to three open, and returns those that stay open."""
    opened: list[Proposal] = []
    for _ in range(steps):
        opened.append(strategy.ask())
        if len(opened) == 3:
            proposal = opened.pop(0)
            strategy.tell(proposal.id, toy_outcome(proposal))
    return opened


def _raises(expected: type[Exception], action: Callable[[], object]) -> None:
    try:
        action()
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")
