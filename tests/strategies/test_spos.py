"""Evolution by generations: the same search whatever is evaluated at once."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import pytest

from nas_plugin.errors import OptionError, SpaceError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.space.cost_table import CostTable
from nas_plugin.strategies import Outcome, Proposal, SposEvolution, Waiting

SPACE = SearchSpace(Choice(f"k{i}", "layer", ("a", "b", "c", "d")) for i in range(6))
SIZES = {"population": 8, "top": 3, "crossover": 3, "mutation": 3}


def outcome(proposal: Proposal) -> Outcome:
    """Any value that follows from the architecture alone; now and then a failure."""
    code = zlib.crc32(repr(sorted(proposal.architecture.items())).encode())
    if code % 11 == 0:
        return Outcome(failure="it fell over")
    return Outcome({"default": float(code % 7)})


def run(slots: int, order: int, trials: int = 32) -> list[Proposal]:
    """Keeps up to `slots` proposals open and tells them in a shuffled order."""
    strategy = SposEvolution(SPACE, seed=4, **SIZES)
    rng, asked, open_ = Random(order), [], []
    while len(asked) < trials or open_:
        while len(open_) < slots and len(asked) < trials:
            try:
                asked.append(strategy.ask())
            except Waiting:
                break
            open_.append(asked[-1])
        done = open_.pop(rng.randrange(len(open_)))
        strategy.tell(done.id, outcome(done))
    return asked


@pytest.mark.parametrize("slots", [1, 2, 4, 8])
def test_the_same_architectures_come_out_however_many_are_open(slots: int) -> None:
    expected = run(1, 0)

    assert [p.id for p in expected] == list(range(32))
    for order in range(3):
        assert run(slots, order) == expected


def test_a_generation_begins_when_the_last_has_been_told() -> None:
    strategy = SposEvolution(SPACE, **SIZES)
    first = [strategy.ask() for _ in range(8)]
    for proposal in first[1:]:
        with pytest.raises(Waiting, match=r"\[0"):
            strategy.ask()
        strategy.tell(proposal.id, outcome(proposal))
    with pytest.raises(Waiting):
        strategy.ask()
    strategy.tell(0, outcome(first[0]))
    assert strategy.ask().id == 8


def test_children_come_from_the_best_of_the_generations_before() -> None:
    strategy = SposEvolution(
        SPACE, population=8, top=2, crossover=8, mutation=0, repeats=True, seed=1
    )
    first = [strategy.ask() for _ in range(8)]
    for value, proposal in enumerate(first):
        strategy.tell(proposal.id, Outcome({"default": float(value)}))
    best = [proposal.architecture for proposal in first[-2:]]
    for _ in range(8):
        child = strategy.ask()
        assert all(child.architecture[k] in {parent[k] for parent in best} for k in SPACE)
        # However good a sibling is, it is no parent yet.
        strategy.tell(child.id, Outcome({"default": 100.0}))


def test_a_cost_table_makes_what_is_too_dear_illegal(tmp_path: Path) -> None:
    table = CostTable("ms", {key: {"a": 0, "b": 1, "c": 2, "d": 3} for key in SPACE}, fixed=1.0)
    table.write(tmp_path / "table.json")
    strategy = SposEvolution(
        SPACE, **SIZES, cost_table=str(tmp_path / "table.json"), cost_limit=7.0
    )
    costs = []
    for _ in range(32):
        proposal = strategy.ask()
        costs.append(table(proposal.architecture))
        strategy.tell(proposal.id, Outcome({"default": costs[-1]}))

    # Unconstrained they cost 10 on average.
    assert max(costs) <= 7.0


def test_wrong_numbers_and_foreign_tables_are_refused(tmp_path: Path) -> None:
    CostTable("ms", {"other": {"a": 1.0}}).write(tmp_path / "t.json")
    with pytest.raises(SpaceError, match="'other'"):
        SposEvolution(SPACE, cost_table=str(tmp_path / "t.json"), cost_limit=1.0)
    for wrong in (
        {"top": 0},
        {"crossover": 50},
        {"mutation_probability": 0.0},
        {"cost_limit": 1.0},
        {"cost_table": "t.json", "cost_limit": 1.0, "constraint": lambda _: True},
    ):
        with pytest.raises(OptionError):
            SposEvolution(SPACE, **wrong)


def changes(child: Proposal, parent: Proposal) -> int:
    return sum(child.architecture[k] != parent.architecture[k] for k in SPACE)


def told(strategy: SposEvolution, values: list[float]) -> list[Proposal]:
    proposals = [strategy.ask() for _ in values]
    for proposal, value in zip(proposals, values, strict=True):
        strategy.tell(proposal.id, Outcome({"default": value}))
    return proposals


def test_a_mutated_child_draws_each_choice_anew_with_the_given_probability() -> None:
    strategy = SposEvolution(
        SPACE, population=300, top=1, crossover=0, mutation=300, repeats=True, seed=2
    )
    parent = told(strategy, [1.0] + [0.0] * 299)[0]
    mean = sum(changes(strategy.ask(), parent) for _ in range(300)) / 300

    # Six choices, a tenth of them drawn anew, of which three in four are another value.
    assert 0.3 < mean < 0.6


def test_the_best_of_all_generations_are_parents() -> None:
    strategy = SposEvolution(
        SPACE, population=6, top=2, crossover=3, mutation=0, repeats=True, seed=3
    )
    first = told(strategy, [9.0, 8.0, 0.0, 0.0, 0.0, 0.0])
    told(strategy, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0])  # its best are three random ones
    for _ in range(3):
        child = strategy.ask().architecture
        assert all(child[k] in {p.architecture[k] for p in first[:2]} for k in SPACE)


def test_a_generation_holds_mutated_then_crossed_then_random_children() -> None:
    strategy = SposEvolution(
        SPACE,
        population=60,
        top=1,
        mutation=20,
        crossover=20,
        mutation_probability=1e-9,
        repeats=True,
    )
    parent = told(strategy, [1.0] + [0.0] * 59)[0]
    children = [strategy.ask() for _ in range(60)]

    assert {changes(child, parent) for child in children[:40]} == {0}
    assert min(changes(child, parent) for child in children[40:]) > 0


def test_mutated_siblings_are_no_parents_of_crossed_ones() -> None:
    strategy = SposEvolution(
        SPACE, population=6, top=2, crossover=3, mutation=3, mutation_probability=1.0, repeats=True
    )
    first = told(strategy, [9.0, 8.0, 0.0, 0.0, 0.0, 0.0])
    told(strategy, [100.0] * 3)
    for _ in range(3):
        child = strategy.ask().architecture
        assert all(child[k] in {p.architecture[k] for p in first[:2]} for k in SPACE)


def test_of_equals_the_first_proposal_is_best_and_parent() -> None:
    strategy = SposEvolution(SPACE, population=4, top=1, crossover=4, mutation=0, repeats=True)
    proposals = [strategy.ask() for _ in range(4)]
    for proposal in reversed(proposals):
        strategy.tell(proposal.id, Outcome({"default": 1.0}))

    assert strategy.best is not None and strategy.best.proposal.id == 0
    assert changes(strategy.ask(), proposals[0]) == 0
