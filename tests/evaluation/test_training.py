from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import nas_plugin
from nas_plugin import LayerChoice
from nas_plugin.errors import OptionError, TrainingError
from nas_plugin.evaluation import Budget, TrainingEvaluator, search
from nas_plugin.space import Choice, SearchSpace
from nas_plugin.strategies import Hyperband, Proposal

SPACE = SearchSpace(
    [Choice("layer", "layer", ("conv", "blind")), Choice("width", "value", (4, 8, 16))]
)


def child(architecture):
    """A small net; the blind one sees nothing of the image."""
    width = architecture["width"]
    first = nn.Conv2d(1, width, 3, padding=1)
    if architecture["layer"] == "blind":
        first.requires_grad_(False).weight.data.zero_()
    return nn.Sequential(
        first, nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(16 * width, 10),
    )  # fmt: skip


def proposal(layer="conv", width=8, fidelity=None):
    return Proposal(0, SPACE.architecture({"layer": layer, "width": width}), fidelity)


@pytest.fixture(scope="module")
def evaluator():
    return TrainingEvaluator(child, limit=300, epochs=2)


def test_a_child_learns_the_digits_and_a_blind_one_does_not(evaluator):
    seeing, blind = (evaluator.evaluate(proposal(layer)).metrics for layer in ("conv", "blind"))
    assert seeing["accuracy"] > 40 > 20 > blind["accuracy"]
    assert seeing["default"] == seeing["accuracy"]
    assert seeing["params"] == 8 * 9 + 8 + 2 * 8 + 16 * 8 * 10 + 10


def test_equal_architectures_get_equal_results_and_no_global_seed_is_set(evaluator):
    before = torch.get_rng_state()
    first, second = (evaluator.evaluate(proposal()).metrics for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())


def test_the_fidelity_is_the_number_of_epochs(evaluator):
    short, long = (evaluator.evaluate(proposal(fidelity=f)).metrics for f in (1, 6))
    assert long["loss"] < short["loss"]
    with pytest.raises(OptionError, match="less than one epoch"):
        evaluator.evaluate(proposal(fidelity=0.2))


def test_a_diverging_training_is_an_error_of_training():
    hot = TrainingEvaluator(child, limit=100, lr=1e12, epochs=3)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf)"):
        hot.evaluate(proposal())


def test_hyperband_finds_a_seeing_child_by_training(evaluator):
    strategy = Hyperband(SPACE, fidelities=(1, 2), eta=2, seed=0)
    result = search(SPACE, strategy, evaluator, Budget(trials=6))
    assert result.best.architecture["layer"] == "conv"
    assert {t.proposal.fidelity for t in result.history} == {1, 2}


def test_a_model_with_choice_blocks_is_built_by_its_factory():
    def make():
        layer = LayerChoice({"conv": nn.Conv2d(1, 4, 3), "pool": nn.AvgPool2d(3)}, key="layer")
        return nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(10))

    evaluator = TrainingEvaluator(partial(nas_plugin.build, make), limit=100, epochs=1)
    space = nas_plugin.search_space(make())
    outcome = evaluator.evaluate(Proposal(0, space.architecture({"layer": "conv"})))
    assert outcome.metrics["params"] == 4 * 9 + 4 + 4 * 36 * 10 + 10


class Seen(nn.Module):
    """A norm and a linear layer that note what they are shown."""

    def __init__(self, shown):
        super().__init__()
        self.norm, self.linear, self.shown = nn.BatchNorm2d(1), nn.Linear(16, 2), shown

    def forward(self, x):
        self.shown.append((x.detach().clone(), self.training))
        return self.linear(self.norm(x).flatten(1))


def test_a_child_is_trained_and_validated_as_a_plain_loop_does(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.standard_normal((60, 1, 4, 4)) + 0.6 * y[:, None, None, None] + 5
    np.savez(tmp_path / "own.npz", x_train=x.astype(np.float32), y_train=y)
    shown = []
    evaluator = TrainingEvaluator(
        lambda _: Seen(shown).eval(),
        data=str(tmp_path / "own.npz"),
        batch_size=15,
        lr=0.3,
        epochs=3,
    )
    outcome = evaluator.evaluate(proposal())
    trained = [images for images, training in shown if training]
    held_out = torch.cat([images for images, training in shown if not training])
    assert [len(images) for images in trained] == [15] * 9 and len(held_out) == 15

    normalised = torch.tensor((x - x.mean()) / x.std()).float()

    def labels(images):
        nearest = torch.cdist(images.flatten(1), normalised.flatten(1)).argmin(1)
        return torch.tensor(y)[nearest], nearest

    epochs = [torch.cat([labels(b)[1] for b in trained[i : i + 3]]).tolist() for i in (0, 3, 6)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(set(epochs[0])))}
    assert not set(epochs[0]) & set(labels(held_out)[1].tolist())

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Seen([])
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.3, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    losses = []
    for step, images in enumerate(trained):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 + math.cos(math.pi * step / 9)) / 2
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels(images)[0])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = (model.eval()(held_out).argmax(1) == labels(held_out)[0]).float().mean().item()
    assert outcome.metrics["loss"] == pytest.approx(sum(losses[-3:]) / 3, rel=1e-5)
    assert outcome.metrics["accuracy"] == pytest.approx(100 * right)
