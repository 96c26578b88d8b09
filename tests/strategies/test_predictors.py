"""Encodings and predictors against hand counts, finite differences, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import norm, rankdata
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from nas_plugin.errors import OptionError, StrategyError
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.space.encodings import nasbench201
from nas_plugin.strategies import Bananas, GaussianProcess, Outcome
from nas_plugin.strategies._encoding import make_encoding
from nas_plugin.strategies._ensemble import Ensemble
from nas_plugin.strategies._predictor import normal_scores
from nas_plugin.strategies.gaussian_process import likeliest, squared_distances


def test_one_hot_marks_every_chosen_candidate():
    space = SearchSpace(
        [
            Choice("op", "layer", ("a", "b", "c")),
            Choice("two", "input", ("x", "y", "z"), n_chosen=2),
            Choice("below", "value", (1, 2), active_if=((("op", ("a",)),),)),
        ]
    )
    encode = make_encoding("one_hot", space)
    first = space.architecture({"op": "a", "two": ["x", "z"], "below": 2})
    second = space.architecture({"op": "b", "two": ["y", "z"]})
    assert encode(first).tolist() == [1, 0, 0, 1, 0, 1, 0, 1]
    assert encode(second).tolist() == [0, 1, 0, 0, 1, 1, 0, 0]


def test_the_path_encoding_lists_the_ways_through_a_cell():
    space = nasbench201.space()
    encode = make_encoding("path", space)
    size = 4 + 4**2 + 4**3  # sequences of one, two and three of the four operations
    full = nasbench201.from_string(
        "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|"
    )
    # 0-1-3 and 0-2-3; 0-3 and 0-1-2-3 are cut by "none".
    assert encode(full).shape == (size,) and encode(full).sum() == 2
    cut = nasbench201.from_ops(["none"] * 6)
    assert encode(cut).sum() == 0
    # Node 1 and node 2 exchanged: the same network, and the same paths.
    twin = nasbench201.from_string(
        "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    )
    assert (encode(full) == encode(twin)).all()


def test_an_encoding_that_does_not_fit_says_so():
    space = SearchSpace([Choice("op", "layer", ("a", "b"))])
    with pytest.raises(StrategyError, match="'op' is something else"):
        make_encoding("path", space)
    with pytest.raises(OptionError, match="Allowed: one_hot"):
        make_encoding("graph", space)
    own = GaussianProcess(space, encoding=lambda a: np.array([float(a["op"] == "a")]))
    assert own.ask().id == 0


def test_the_loss_of_the_ensemble_is_the_squared_error_and_a_decay_of_weights():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((5, 4)), rng.standard_normal(5)
    ensemble = Ensemble(4, members=3, rng=rng, hidden=6, decay=0.03)
    for bias in ensemble._biases:
        bias += rng.standard_normal(bias.shape)
    expected = 0.0
    for member in range(3):
        weights = [w[member] for w in ensemble._weights]
        biases = [b[member, 0] for b in ensemble._biases]
        predicted = []
        for row in x:
            for i in range(3):
                row = [
                    sum(row[j] * weights[i][j, k] for j in range(len(row))) + biases[i][k]
                    for k in range(weights[i].shape[1])
                ]
                row = row if i == 2 else [max(value, 0.0) for value in row]
            predicted.append(row[0])
        np.testing.assert_allclose(ensemble.predict(x)[member], predicted, rtol=1e-9)
        expected += sum((p - t) ** 2 for p, t in zip(predicted, y, strict=True)) / 5
        expected += 0.03 * sum(float(value) ** 2 for w in weights for value in w.flat)
    assert ensemble.loss(x, y) == pytest.approx(expected, rel=1e-9)


def test_the_ensemble_steps_as_adam_does():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
    ensemble = Ensemble(3, members=2, rng=rng, hidden=4, lr=0.05, decay=0.01)
    start = [*ensemble._weights, *ensemble._biases]
    parameters = [torch.tensor(p.copy(), requires_grad=True) for p in start]
    adam = torch.optim.Adam(parameters, lr=0.05, eps=1e-12)
    ensemble.fit(x, y, steps=20)
    for _ in range(20):
        out = torch.tensor(x)
        for i in range(3):
            out = out @ parameters[i] + parameters[3 + i]
            out = out if i == 2 else out.relu()
        loss = ((out[:, :, 0] - torch.tensor(y)) ** 2).mean(1).sum()
        loss = loss + 0.01 * sum((w * w).sum() for w in parameters[:3])
        adam.zero_grad()
        loss.backward()
        adam.step()
    for found, wanted in zip(start, parameters, strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_the_gradients_of_the_ensemble_are_those_of_its_loss():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 4)), rng.standard_normal(7)
    ensemble = Ensemble(4, members=2, rng=rng, hidden=3, decay=0.01)
    parameters = [*ensemble._weights, *ensemble._biases]
    for bias in ensemble._biases:  # at zero a unit without input would lie on its kink
        bias += rng.standard_normal(bias.shape)
    for parameter, gradient in zip(parameters, ensemble.gradients(x, y), strict=True):
        assert gradient.shape == parameter.shape
        for place in np.ndindex(parameter.shape):
            kept, losses = parameter[place], []
            for step in (1e-6, -1e-6):
                parameter[place] = kept + step
                losses.append(ensemble.loss(x, y))
            parameter[place] = kept
            assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(gradient[place], abs=1e-6)


def test_the_ensemble_fits_and_disagrees_where_it_knows_nothing():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = x[:, 0] - x[:, 1] * x[:, 2]
    ensemble = Ensemble(3, members=5, rng=rng)
    ensemble.fit(x, y, steps=300)
    assert np.abs(ensemble.predict(x).mean(0) - y).mean() < 0.2
    assert ensemble.predict(x + 20).std(0).mean() > 5 * ensemble.predict(x).std(0).mean()


def test_the_process_predicts_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    space = SearchSpace([Choice("op", "layer", ("a", "b"))])
    known, y = rng.standard_normal((12, 5)), rng.standard_normal(12)
    y = (y - y.mean()) / y.std()
    candidates = rng.standard_normal((6, 5))
    distances = cdist(known, known, "sqeuclidean")
    np.testing.assert_allclose(squared_distances(known, known), distances, atol=1e-12)
    scale = distances.mean()
    length, noise = likeliest(distances / scale, y)

    def reference(length: float, noise: float) -> GaussianProcessRegressor:
        # exp(-d / (scale * length)) is the RBF kernel of sqrt(scale * length / 2).
        kernel = RBF((scale * length / 2) ** 0.5) + WhiteKernel(noise)
        return GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(known, y)

    grid = [(a, b) for a in (0.5, 1.0, 2.0, 4.0) for b in (0.01, 0.05, 0.2)]
    best = max(grid, key=lambda pair: reference(*pair).log_marginal_likelihood())
    assert (length, noise) == best
    mean, deviation = reference(length, noise).predict(candidates, return_std=True)
    deviation = np.sqrt(deviation**2 - noise)  # of the function, without the noise
    rated = GaussianProcess(space, optimism=0.7).fit(known, y)(candidates)
    np.testing.assert_allclose(rated, mean + 0.7 * deviation, rtol=1e-6)


def test_normal_scores_are_quantiles_of_middle_ranks():
    values = np.array([3.0, 1.0, 3.0, -7.0, 100.0])
    expected = norm.ppf((rankdata(values) - 0.5) / 5)
    np.testing.assert_allclose(normal_scores(values), expected, rtol=1e-9)


@pytest.mark.parametrize("cls", [GaussianProcess, Bananas])
def test_a_predictor_finds_what_random_search_would_not(cls):
    space = SearchSpace(Choice(f"c{i}", "value", tuple(range(6))) for i in range(6))
    strategy = cls(space, pool=60, **({"steps": 60} if cls is Bananas else {}))
    for _ in range(60):
        proposal = strategy.ask()
        value = sum(float(v) for v in proposal.architecture.values())
        strategy.tell(proposal.id, Outcome({"default": value}))
    # The best of 60 random sums of six dice has 23 to 25 in the mean; all sixes have 30.
    assert strategy.best.value >= 27
