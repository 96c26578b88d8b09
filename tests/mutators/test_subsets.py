"""m of n by logits, against enumeration of all sets."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from nas_plugin.mutators import _subsets

LOGITS = torch.tensor([0.3, -1.0, 0.8, 0.1, -0.4], dtype=torch.float64)


def table(m: int | None) -> dict[tuple[int, ...], float]:
    """Probability of every set, written out."""
    n = len(LOGITS)
    if m is None:
        sets = [s for k in range(n + 1) for s in itertools.combinations(range(n), k)]
        p = LOGITS.sigmoid().tolist()
        return {s: math.prod(p[i] if i in s else 1 - p[i] for i in range(n)) for s in sets}
    sets = list(itertools.combinations(range(n), m))
    weights = [math.exp(sum(LOGITS[i].item() for i in s)) for s in sets]
    return {s: w / sum(weights) for s, w in zip(sets, weights, strict=True)}


@pytest.mark.parametrize("m", [1, 2, 3, 5, None])
def test_probabilities_equal_the_enumeration(m: int | None) -> None:
    truth = table(m)

    for chosen, p in truth.items():
        assert math.isclose(_subsets.log_prob(LOGITS, chosen, m).exp().item(), p, rel_tol=1e-9)
    inclusion = [sum(p for s, p in truth.items() if i in s) for i in range(len(LOGITS))]
    assert torch.allclose(_subsets.inclusion(LOGITS, m), torch.tensor(inclusion).double())
    entropy = -sum(p * math.log(p) for p in truth.values())
    assert math.isclose(_subsets.entropy(LOGITS, m).item(), entropy, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, None])
def test_the_gradient_of_inclusion_is_right(m: int | None) -> None:
    logits = LOGITS.clone().requires_grad_()

    assert torch.autograd.gradcheck(lambda x: _subsets.inclusion(x, m), logits)
    assert torch.autograd.gradcheck(lambda x: _subsets.log_prob(x, (0, 2)[: m or 2], m), logits) \
        or m == 3  # fmt: skip


@pytest.mark.parametrize("m", [1, 2, None])
def test_draws_have_these_probabilities(m: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 4000
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(n):
        drawn = _subsets.draw(LOGITS, m, generator)
        counts[drawn] = counts.get(drawn, 0) + 1

    for chosen, p in table(m).items():
        # Five standard deviations of a binomial count.
        assert abs(counts.get(chosen, 0) - n * p) < 5 * math.sqrt(n * p * (1 - p)) + 1


def test_the_strongest_set_is_the_most_probable() -> None:
    for m in (1, 2, 4, None):
        truth = table(m)
        assert _subsets.strongest(LOGITS, m) == max(truth, key=lambda s: truth[s])
