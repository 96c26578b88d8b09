"""Random search draws what it says, uniformly."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from nas_plugin import InputChoice, LayerChoice, RandomMutator, Repeat, search_space
from nas_plugin.operations import Zero

# The 99.9 % quantiles of chi-square, by degrees of freedom.
CHI2 = {1: 10.83, 2: 13.82, 3: 16.27, 5: 20.52}


def chi_square(counts: Counter[object], options: int) -> float:
    expected = counts.total() / options
    observed = [*counts.values(), *[0] * (options - len(counts))]
    return sum((n - expected) ** 2 / expected for n in observed)


def make() -> nn.ModuleDict:
    inner = LayerChoice([nn.Identity(), nn.Tanh(), nn.ReLU()], key="inner")
    return nn.ModuleDict(
        {
            "outer": LayerChoice(
                {"deep": nn.Sequential(inner), "flat": nn.Identity()}, key="outer"
            ),
            "zero": LayerChoice([Zero(), nn.Tanh(), nn.ReLU(), nn.Identity()], key="zero"),
            "two": InputChoice(4, n_chosen=2, key="two"),
            "any": InputChoice(2, key="any"),
            "depth": Repeat(lambda _: nn.Identity(), (0, 3), key="depth"),
        }
    )


def test_every_active_choice_is_uniform() -> None:
    mutator = RandomMutator(make(), seed=5)
    drawn = [mutator.export() for _ in range(3000)]

    # ``inner`` matters below one of two candidates; a candidate that is never kept is not drawn.
    for key, options in {"outer": 2, "inner": 3, "zero": 3, "two": 6, "any": 4, "depth": 4}.items():
        counts = Counter(a[key] for a in drawn if key in a)
        assert chi_square(counts, options) < CHI2[options - 1], key
    assert all(("inner" in a) == (a["outer"] == "deep") for a in drawn)
    assert {a["zero"] for a in drawn} == {"1", "2", "3"}


def test_choices_are_independent() -> None:
    mutator = RandomMutator(make(), seed=6)
    pairs = Counter((a["zero"], a["outer"]) for a in (mutator.export() for _ in range(3000)))

    assert chi_square(Counter(pairs), 6) < CHI2[5]


def test_only_what_is_drawn_runs_and_keys_that_do_not_matter_select_nothing() -> None:
    model = make()
    mutator = RandomMutator(model, seed=0)
    for _ in range(20):
        mutator.reset()
        decisions = mutator.binding.decisions
        assert all(decision.mix is None for decision in decisions.values())
        assert len(decisions["outer"].active) == 1 and len(decisions["two"].active) == 2
        assert len(decisions["inner"].active) == (1 if decisions["outer"].active == (0,) else 0)


def test_it_does_not_touch_the_global_generator() -> None:
    mutator = RandomMutator(make(), seed=0)
    state = torch.get_rng_state()
    mutator.reset()
    mutator.export()

    assert torch.equal(torch.get_rng_state(), state)


def test_its_status_is_the_uniform_distribution() -> None:
    status = RandomMutator(make()).status()

    assert status["zero"] == {"0": 0.0, "1": 1 / 3, "2": 1 / 3, "3": 1 / 3}
    assert status["depth"] == {"0": 0.25, "1": 0.25, "2": 0.25, "3": 0.25}
    assert set(status) == set(search_space(make()))
