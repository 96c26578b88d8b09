"""BANANAS rates by a draw around the ensemble's mean, as wide as the ensemble disagrees."""

from __future__ import annotations

import numpy as np
import pytest

from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Bananas, bananas

SPACE = SearchSpace([Choice("op", "layer", ("a", "b"))])
#: What three members say of two candidates.
SAID = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])


class Members:
    """Says `SAID` and notes what it is fitted to."""

    fitted: list[tuple[np.ndarray, np.ndarray, int]] = []

    def __init__(self, inputs: int, *, members: int, rng: np.random.Generator) -> None:
        assert (inputs, members) == (2, 3)

    def fit(self, x: np.ndarray, y: np.ndarray, *, steps: int) -> None:
        self.fitted.append((x, y, steps))

    def predict(self, x: np.ndarray) -> np.ndarray:
        return SAID


def test_candidates_are_rated_by_independent_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bananas, "Ensemble", Members)
    Members.fitted = []
    known, targets = np.eye(2), np.array([0.0, 1.0])
    rate = Bananas(SPACE, members=3, steps=7, seed=2).fit(known, targets)
    drawn = np.stack([rate(np.zeros((2, 2))) for _ in range(2000)])

    assert [steps for _, _, steps in Members.fitted] == [7]
    np.testing.assert_array_equal(Members.fitted[0][0], known)
    np.testing.assert_array_equal(Members.fitted[0][1], targets)
    # Mean 3, variance ((1 - 3)^2 + (2 - 3)^2 + (6 - 3)^2) / 3; the second is beyond doubt.
    assert drawn[:, 0].mean() == pytest.approx(3.0, abs=0.2)
    assert drawn[:, 0].std() == pytest.approx((14 / 3) ** 0.5, rel=0.1)
    np.testing.assert_array_equal(drawn[:, 1], 5.0)


def test_another_fit_begins_with_other_networks() -> None:
    strategy = Bananas(SPACE, steps=1)
    known, targets, asked = np.eye(2), np.array([0.0, 1.0]), np.ones((1, 2))

    assert strategy.fit(known, targets)(asked) != strategy.fit(known, targets)(asked)
